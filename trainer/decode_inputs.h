#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/backbone.h"
#include "trainer/found_heads.h"
#include "trainer/prompts.h"
#include "trainer/run_stream.h"

namespace gorgon {

// Everything that decoding with trained heads reads. Nothing in it moves or changes once it is made.
struct DecodeInputs {
  // model: empty = the run's; dtype: "bf16", "f32" or "" for the run's; stop: of the stream.
  DecodeInputs(const std::filesystem::path& path, const std::filesystem::path& model,
               const std::string& dtype, Console& console, const StopSignal* stop);

  FoundHeads found;
  DType compute;
  Stream stream;
  ModelWeights weights;
  TextModel text;
  Backbone backbone;
  DraftHeads heads;
};

// The prompts of `data` that are for `split`: all of them, or, where `data` is what the run was trained on,
// the split's share of them. Says which. At most `limit` (-1 = all); there may be none.
PromptSet read_split(const DecodeInputs& inputs, const std::vector<std::string>& data, Split split,
                     int64_t limit, Console& console);

}  // namespace gorgon
