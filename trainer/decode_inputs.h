#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model/backbone.h"
#include "trainer/found_heads.h"
#include "trainer/prompts.h"
#include "trainer/run_stream.h"

namespace gorgon {

// Everything that decoding with trained heads reads. Nothing in it moves or changes once it is made.
struct DecodeInputs {
  // model: empty = the run's; dtype: "bf16", "f32" or "" for the run's; heads_dtype: "q8_0", "full" or "" for
  // q8_0 beside bf16 and full beside f32; stop: of the stream; ranks: of the job, or nullptr: alone.
  DecodeInputs(const std::filesystem::path& path, const std::filesystem::path& model,
               const std::string& dtype, const std::string& heads_dtype, Console& console,
               const StopSignal* stop, const RankGroup* ranks = nullptr);

  FoundHeads found;
  DType compute;
  HeadStorage head_storage;
  Stream stream;
  ModelWeights weights;
  TextModel text;
  Backbone backbone;
  DraftHeads heads;
};

// Before anything is loaded: Error(data) where a file of `data` is not there, Error(config) where `tree` (or
// none) cannot be read as one for any number of heads.
void require_readable(const std::vector<std::string>& data, const std::filesystem::path& tree);

// The part of `data` that is for `split`: all of it, or, where `data` is what the run was trained on, the
// split's share.
std::optional<Split> split_of_data(const RunConfig& config, const std::vector<std::string>& data,
                                   Split split);

// The prompts of `data` that are for `split`, as split_of_data says. Says which. At most `limit` (-1 = all);
// there may be none.
PromptSet read_split(const DecodeInputs& inputs, const std::vector<std::string>& data, Split split,
                     int64_t limit, Console& console);

}  // namespace gorgon
