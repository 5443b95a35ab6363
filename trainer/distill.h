#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "model/backbone.h"
#include "model/decoder.h"
#include "trainer/console.h"
#include "trainer/prompts.h"
#include "trainer/rank_share.h"

namespace gorgon {

struct DistillOptions {
  DecoderOptions decoder;
  int64_t batch = 16;    // prompts at a time
  std::string identity;  // of everything that the answers depend on; a resumed file must have the same
};

// One row of the result: {"id", "messages" (of a conversation: the prompt's and the answer), "input_ids",
// "labels" (-100 before the answer), "finish": "stop" or "length"}, with its newline.
std::string distilled_row(int64_t id, const Prompt& prompt, const Answer& answer, const Tokenizer& tokenizer);

enum class DistillOutcome { complete, was_complete };

// Lets the backbone answer all prompts and writes one row for each, in their order, to OUTPUT.partial, which
// becomes OUTPUT when all are there. A killed run goes on behind the last whole row; OUTPUT.distill.json says
// what the rows are made from. Greedy in f32 the file's bytes depend neither on kills nor on the batch.
// Throws Error(config), naming what differs, when OUTPUT or rows of OUTPUT.partial were made from something
// else; at a stop point Stopped, like a kill that loses no row written. One process at a time may call it for
// an output.
//
// progress: counts prompts; may be null.
//
// Several ranks divide the prompts: prompt i is answered by rank i mod n, and rank 0, the only one that reads
// `prompts` and touches files, writes the rows as they come. In bf16 the other company in a batch may decide
// a tie between two tokens differently.
DistillOutcome distill(const Backbone& backbone, const std::vector<Prompt>& prompts,
                       const Tokenizer& tokenizer, const DistillOptions& options,
                       const std::filesystem::path& output, const Stream& stream, RankShare& share,
                       Progress* progress);

}  // namespace gorgon
