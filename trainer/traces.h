#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/accepted_length.h"
#include "model/backbone.h"
#include "model/decoder.h"
#include "model/draft_heads.h"
#include "trainer/console.h"
#include "trainer/prompts.h"
#include "trainer/rank_share.h"

namespace gorgon {

// Of one head over the tokens of answers that it had to foresee.
struct HeadSums {
  double cross_entropy = 0;      // over targets that the head's vocabulary holds
  int64_t inside = 0;            // those targets
  int64_t count = 0;             // all of them
  std::array<int64_t, 5> top{};  // right among the first 1..5

  HeadSums& operator+=(const HeadSums& other);
};

// What a head made of one token that it had to foresee.
struct SeenToken {
  int32_t rank = -1;    // tokens it prefers; -1 = there was none to foresee
  bool inside = false;  // the head's vocabulary holds it
  double loss = 0;
};
SeenToken see_token(const DraftHeads& heads, std::span<const float> logits, int32_t target);
void add_token(const SeenToken& token, HeadSums& sums);

// What the backbone and the heads say along an answer, from one forward over prompt and answer.
struct Trace {
  Continuation continuation;
  std::vector<float> top_logit;  // [m] the largest logit before each token
};

// States [m, H] from which the tokens of an answer are chosen: the first is the prompt's last token's. One
// forward over prompt and answer.
Tensor answer_states(const Backbone& backbone, const std::vector<int32_t>& prompt,
                     const std::vector<int32_t>& answer, const Stream& stream);

// Continuation::ranks [m, K] of an answer, from those states. Adds to `sums` [K].
std::vector<int32_t> head_ranks(const DraftHeads& heads, ConstView states, const std::vector<int32_t>& answer,
                                std::vector<HeadSums>& sums, const Stream& stream);

// `lookup`: also how many tokens a copy from the prompt would get right at each step. Adds to `sums` [K].
Trace trace_answer(const Backbone& backbone, const DraftHeads& heads, const std::vector<int32_t>& prompt,
                   const std::vector<int32_t>& answer, const LookupOptions& lookup,
                   std::vector<HeadSums>& sums, const Stream& stream);

// Answers to all prompts, in their order.
struct DecodedSet {
  std::vector<Answer> answers;
  DecodeTimes times;
};
DecodedSet decode_prompts(const Backbone& backbone, const DraftHeads* heads, const DecoderOptions& options,
                          std::span<const Prompt> prompts, int64_t batch, const Stream& stream,
                          const CountProgress& progress = {});
// The same one prompt at a time, divided over ranks: prompt p by rank p mod n, and all get all answers; times
// are summed over ranks.
DecodedSet decode_divided(const Backbone& backbone, const DraftHeads& heads, const DecoderOptions& options,
                          std::span<const Prompt> prompts, const Stream& stream, RankShare& share,
                          const CountProgress& progress);

}  // namespace gorgon
