#include "trainer/accept_evaluation.h"

#include "kernels/error.h"
#include "model/accepted_length.h"
#include "trainer/rank_message.h"
#include "trainer/traces.h"

namespace gorgon {

AcceptEvaluator::AcceptEvaluator(const std::vector<OwnAnswer>& answers)
    : answers_(answers), states_(answers.size()) {}

WalkCounts AcceptEvaluator::walk(size_t prompt, const Backbone& backbone, const DraftHeads& heads,
                                 const TreeMatcher& chain, const Stream& stream) {
  const OwnAnswer& answer = answers_[prompt];
  stream.stop_point();
  std::optional<Tensor>& states = states_[prompt];
  if (!states) states = answer_states(backbone, answer.prompt, answer.tokens, stream).to(Device{});
  std::vector<HeadSums> sums(static_cast<size_t>(heads.count()));
  Continuation continuation;
  continuation.tokens = answer.tokens;
  if (stream.device() == Device{}) {
    continuation.ranks = head_ranks(heads, states->view(), answer.tokens, sums, stream);
  } else {
    const Tensor there = states->to(stream.device());
    continuation.ranks = head_ranks(heads, there.view(), answer.tokens, sums, stream);
  }
  return count_walk(simulate_walk(continuation, chain, heads.count()));
}

double AcceptEvaluator::accept_length(const Backbone& backbone, const DraftHeads& heads, const Stream& stream,
                                      RankShare& share, const std::function<void(int64_t)>& progress) {
  require(!answers_.empty(), "AcceptEvaluator", "no answers");
  const TreeMatcher chain(chain_tree(heads.count()));
  const auto walk_packed = [&](int64_t prompt) {
    MessageWriter writer;
    writer.add(walk(static_cast<size_t>(prompt), backbone, heads, chain, stream));
    return writer.take();
  };
  std::vector<WalkCounts> counts;
  for (const std::string& packed :
       share.collect_each(prompts(), "the accepted length", walk_packed, progress)) {
    MessageReader(packed).get(counts.emplace_back());
  }
  return gorgon::accept_length(counts);
}

}  // namespace gorgon
