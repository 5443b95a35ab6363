#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "trainer/data_sets.h"
#include "trainer/run_config.h"

namespace gorgon {

// Who gives a model's answers, whatever the prompts: model_fingerprint, quantisation (of the weights as they
// are computed with), tokenizer_sha256 and chat_template_sha256. Part of what OUTPUT.distill.json says.
nlohmann::ordered_json answer_origin(const std::string& model_fingerprint, const RunConfig& config,
                                     const TextModel& text);

}  // namespace gorgon
