#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "model/accepted_length.h"
#include "model/draft_heads.h"
#include "trainer/own_answers.h"
#include "trainer/rank_share.h"

namespace gorgon {

// Accepted length of heads in training: tau of the chain's walk (NUMERICS: the sum of emitted tokens over the
// sum of steps) along stored answers of the model itself, by the same passes as `gorgon eval`. The model is
// frozen, so its states along the answers are computed once and kept on the host, [tokens, H] in its compute
// type; every later evaluation costs the heads alone. Several ranks divide the prompts among themselves.
class AcceptEvaluator {
 public:
  explicit AcceptEvaluator(const std::vector<OwnAnswer>& answers);  // borrowed

  int64_t prompts() const { return static_cast<int64_t>(answers_.size()); }
  // progress(done) counts prompts. Throws Error(internal) without prompts.
  double accept_length(const Backbone& backbone, const DraftHeads& heads, const Stream& stream,
                       RankShare& share, const std::function<void(int64_t)>& progress = {});

 private:
  WalkCounts walk(size_t prompt, const Backbone& backbone, const DraftHeads& heads, const TreeMatcher& chain,
                  const Stream& stream);

  const std::vector<OwnAnswer>& answers_;
  std::vector<std::optional<Tensor>> states_;  // of the answers that were needed yet
};

}  // namespace gorgon
