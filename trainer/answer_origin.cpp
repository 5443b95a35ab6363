#include "trainer/answer_origin.h"

#include "data/file.h"
#include "trainer/state_caching.h"

namespace gorgon {

nlohmann::ordered_json answer_origin(const std::string& model_fingerprint, const RunConfig& config,
                                     const TextModel& text) {
  return {{"model_fingerprint", model_fingerprint},
          {"quantisation", quantisation_name(config)},
          {"tokenizer_sha256", text.tokenizer.sha256()},
          {"chat_template_sha256", sha256_of(text.tokenizer.chat_template())}};
}

}  // namespace gorgon
