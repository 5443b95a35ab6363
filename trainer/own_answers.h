#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "model/backbone.h"
#include "trainer/console.h"
#include "trainer/data_sets.h"
#include "trainer/rank_share.h"

namespace gorgon {

// A prompt and what the model itself says to it, greedily: up to and with a stop token, or to the cap.
struct OwnAnswer {
  std::vector<int32_t> prompt, tokens;
};

struct OwnAnswersRequest {
  std::vector<std::string> files;  // JSONL: paths or globs
  std::filesystem::path kept;      // where answers that have to be made are kept, as `gorgon distill` writes
  RowColumns columns;              // as for parse_row
  nlohmann::ordered_json origin;   // answer_origin() of the model
  int64_t max_prompts = 512;       // the first ones, without duplicates
  int64_t max_new_tokens = 128;    // longer answers are cut, as the decoder would have done
};

// The model's own greedy answers to the prompts of some files: those that stand in them, where every file was
// written by `gorgon distill` with this model (origin) at temperature 0 (FILE.distill.json says so), else
// those kept, else made once (a forward per token, 16 prompts at a time). The same inputs give the same
// answers, whatever was interrupted. None where the files have no prompts. Throws as read_prompts and distill
// do. Of several ranks only the first reads and writes files, all make answers, and all get them.
std::vector<OwnAnswer> load_own_answers(const Backbone& backbone, const TextModel& text,
                                        const OwnAnswersRequest& request, const Stream& stream,
                                        RankShare& share, Console& console);

}  // namespace gorgon
