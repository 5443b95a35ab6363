#include "trainer/accept_evaluation.h"

#include "kernels/error.h"
#include "model/accepted_length.h"
#include "trainer/traces.h"

namespace gorgon {

AcceptEvaluator::AcceptEvaluator(const std::vector<OwnAnswer>& answers) : answers_(answers) {}

double AcceptEvaluator::accept_length(const Backbone& backbone, const DraftHeads& heads, const Stream& stream,
                                      const std::function<void(int64_t)>& progress) {
  require(!answers_.empty(), "AcceptEvaluator", "no answers");
  const TreeMatcher chain(chain_tree(heads.count()));
  std::vector<HeadSums> sums(static_cast<size_t>(heads.count()));
  std::vector<WalkCounts> counts;
  for (size_t p = 0; p < answers_.size(); ++p) {
    const OwnAnswer& answer = answers_[p];
    stream.stop_point();
    if (p == states_.size()) {
      states_.push_back(answer_states(backbone, answer.prompt, answer.tokens, stream).to(Device{}));
    }
    Continuation continuation;
    continuation.tokens = answer.tokens;
    if (stream.device() == Device{}) {
      continuation.ranks = head_ranks(heads, states_[p].view(), answer.tokens, sums, stream);
    } else {
      const Tensor there = states_[p].to(stream.device());
      continuation.ranks = head_ranks(heads, there.view(), answer.tokens, sums, stream);
    }
    counts.push_back(count_walk(simulate_walk(continuation, chain, heads.count())));
    if (progress) progress(static_cast<int64_t>(p) + 1);
  }
  return gorgon::accept_length(counts);
}

}  // namespace gorgon
