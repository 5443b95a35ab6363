#include "trainer/decode_evaluation.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "kernels/error.h"
#include "trainer/rank_message.h"
#include "trainer/step_costs.h"

namespace gorgon {
namespace {

constexpr uint64_t kBootstrapSeed = 1;

DecoderOptions decoder_options(const DecodeEvaluationOptions& options, Draft draft) {
  DecoderOptions decoder;
  const bool with_heads = draft == Draft::heads || draft == Draft::both;
  decoder.tree = with_heads ? options.tree : chain_tree(0);
  decoder.lookup = draft == Draft::lookup || draft == Draft::both;
  decoder.max_new_tokens = options.max_new_tokens;
  decoder.stop_tokens = options.stop_tokens;
  decoder.temperature = options.temperature;
  decoder.seed = options.seed;
  return decoder;
}

std::vector<WalkCounts> counts_of(const std::vector<Answer>& answers) {
  std::vector<WalkCounts> counts;
  for (const Answer& answer : answers) counts.push_back(count_walk(answer.emitted));
  return counts;
}

double tokens_per_forward(const std::vector<Answer>& answers) {
  double tokens = 0, forwards = 0;
  for (const Answer& answer : answers) {
    tokens += static_cast<double>(answer.tokens.size());
    forwards += static_cast<double>(
        std::count_if(answer.offered.begin(), answer.offered.end(), [](int32_t nodes) { return nodes > 0; }));
  }
  return forwards > 0 ? tokens / forwards : 1.0;
}

DraftTree cut_tree(DraftTree tree, int depth) {
  std::erase_if(tree.paths, [&](const RankPath& path) { return std::cmp_greater(path.size(), depth); });
  return tree;
}

// What the walk over ranks and copies says a draft emits.
std::vector<int32_t> simulate(const Continuation& c, Draft draft, const TreeMatcher& tree, int heads) {
  return simulate_walk(c.length(), [&](int64_t i) {
    int64_t accepted = 0;
    if (draft == Draft::heads || draft == Draft::both) accepted = tree.accepted(c.ranks_at(i, heads));
    if (draft == Draft::lookup || draft == Draft::both) {
      accepted = std::max<int64_t>(accepted, c.lookup[static_cast<size_t>(i)]);
    }
    return accepted;
  });
}

void compare_with_plain(const std::vector<Answer>& plain, const std::vector<Answer>& answers,
                        float difference, DraftResult& result) {
  for (size_t p = 0; p < plain.size(); ++p) {
    std::optional<Divergence> found = first_divergence(plain[p], answers[p], difference);
    if (found) {
      found->prompt = static_cast<int64_t>(p);
      result.divergences.push_back(*found);
    } else {
      ++result.exact;
    }
  }
}

// Medians and spread of the seconds [run][depth].
void keep_depth_seconds(const std::vector<std::vector<double>>& runs, DecodeEvaluation& evaluation) {
  for (size_t depth = 0; depth < runs.front().size(); ++depth) {
    std::vector<double> seconds, change;
    for (const std::vector<double>& run : runs) {
      seconds.push_back(run[depth]);
      change.push_back(depth == 0 ? 1.0 : std::max(1.0, run[depth] / run[depth - 1]));
    }
    std::sort(seconds.begin(), seconds.end());
    const auto [low, high] = std::minmax_element(change.begin(), change.end());
    evaluation.depth_seconds.push_back(seconds[seconds.size() / 2]);
    evaluation.depth_cost.emplace_back(*low, *high);
  }
}

// One evaluation at work.
class DecodeEvaluator {
 public:
  DecodeEvaluator(const Backbone& backbone, const DraftHeads& heads, std::span<const Prompt> prompts,
                  const DecodeEvaluationOptions& options, const Stream& stream, RankShare& share,
                  const StageProgress& stage)
      : backbone_(backbone),
        heads_(heads),
        prompts_(prompts),
        options_(options),
        stream_(stream),
        share_(share),
        stage_(stage) {}

  DecodeEvaluation run() {
    std::vector<Draft> drafts = {Draft::plain};
    drafts.insert(drafts.end(), options_.drafts.begin(), options_.drafts.end());
    for (const Draft draft : drafts)
      sets_.push_back(decode_divided(backbone_, heads_, decoder_options(options_, draft), prompts_, stream_,
                                     share_, stage_("decode " + name(draft), std::ssize(prompts_))));
    trace();
    for (size_t d = 0; d < drafts.size(); ++d) evaluation_.results.push_back(judge(drafts[d], sets_[d]));
    share_.on_first("the speeds", [&] {
      measure_speed(drafts);
      measure_depths();
      for (const int64_t batch : options_.batches) measure_batch(batch);
    });
    return std::move(evaluation_);
  }

 private:
  // All runs of all drafts are one stage.
  std::vector<Speed> time_drafts(const std::vector<Draft>& drafts, std::span<const Prompt> prompts,
                                 int64_t batch, const std::string& label) {
    const int64_t count = std::ssize(prompts);
    const CountProgress progress = stage_(label, kTimedRuns * std::ssize(drafts) * count);
    int64_t before = 0;
    std::vector<std::function<DecodedSet()>> work;
    for (const Draft draft : drafts) {
      work.emplace_back([&, draft] {
        DecodedSet set = decode_prompts(backbone_, &heads_, decoder_options(options_, draft), prompts, batch,
                                        stream_, [&](int64_t done) {
                                          if (progress) progress(before + done);
                                        });
        before += count;
        return set;
      });
    }
    return time_in_turns(work);
  }
  std::span<const Prompt> timed() const {
    return prompts_.first(std::min(prompts_.size(), static_cast<size_t>(options_.speed_prompts)));
  }

  void trace() {
    const int heads = heads_.count();
    evaluation_.heads.resize(static_cast<size_t>(heads));
    evaluation_.prompts = std::ssize(prompts_);
    evaluation_.tree_nodes = options_.tree.nodes();
    evaluation_.timed_prompts = std::ssize(timed());
    const auto trace_prompt = [&](int64_t p) { return packed_trace(static_cast<size_t>(p)); };
    for (const std::string& packed : share_.collect_each(std::ssize(prompts_), "traces", trace_prompt,
                                                         stage_("trace", std::ssize(prompts_)))) {
      MessageReader reader(packed);
      std::vector<HeadSums> sums;
      float difference = 0;
      Continuation& continuation = traces_.emplace_back();
      continuation.tokens = sets_[0].answers[traces_.size() - 1].tokens;
      reader.get(continuation.ranks);
      reader.get(continuation.lookup);
      reader.get(sums);
      reader.get(difference);
      for (size_t k = 0; k < sums.size(); ++k) evaluation_.heads[k] += sums[k];
      evaluation_.logit_difference = std::max(evaluation_.logit_difference, difference);
      evaluation_.tokens += continuation.length();
    }
    evaluation_.temperature = options_.temperature;
    evaluation_.exact_arithmetic = backbone_.compute() == DType::f32;
    if (!evaluation_.sampled()) simulate_trees();
  }

  void simulate_trees() {
    const int heads = heads_.count();
    evaluation_.prefix = prefix_accuracies(traces_, heads);
    evaluation_.chain_tau = simulated_tau(Draft::heads, chain_tree(heads));
    evaluation_.independent_tau = independent_accept_length(
        options_.tree, marginal_accuracies(traces_, heads, std::max(1, options_.tree.ranks())));
    std::vector<WalkCounts> before;
    for (int depth = 0; depth <= heads; ++depth) {
      std::vector<WalkCounts> walks = simulated_walks(Draft::heads, cut_tree(options_.tree, depth));
      evaluation_.depth_tau.push_back(accept_length(walks));
      evaluation_.depth_gain.push_back(depth == 0 ? std::pair(1.0, 1.0)
                                                  : bootstrap_gain_interval(walks, before, kBootstrapSeed));
      before = std::move(walks);
    }
  }

  // Ranks, copies, sums and the largest difference of logits of one prompt.
  std::string packed_trace(size_t p) const {
    const Answer& plain = sets_[0].answers[p];
    std::vector<HeadSums> sums(static_cast<size_t>(heads_.count()));
    const Trace trace =
        trace_answer(backbone_, heads_, prompts_[p].tokens, plain.tokens, LookupOptions{}, sums, stream_);
    float difference = 0;
    for (size_t i = 0; i < plain.tokens.size(); ++i)
      difference = std::max(difference, std::abs(trace.top_logit[i] - plain.top_logit[i]));
    MessageWriter writer;
    writer.add(trace.continuation.ranks);
    writer.add(trace.continuation.lookup);
    writer.add(sums);
    writer.add(difference);
    return writer.take();
  }

  std::vector<WalkCounts> simulated_walks(Draft draft, const DraftTree& tree) const {
    const TreeMatcher matcher(tree);
    std::vector<WalkCounts> counts;
    for (const Continuation& c : traces_)
      counts.push_back(count_walk(simulate(c, draft, matcher, heads_.count())));
    return counts;
  }
  double simulated_tau(Draft draft, const DraftTree& tree) const {
    return accept_length(simulated_walks(draft, tree));
  }

  DraftResult judge(Draft draft, const DecodedSet& set) const {
    DraftResult result;
    result.draft = draft;
    const std::vector<WalkCounts> counts = counts_of(set.answers);
    result.accept_length = accept_length(counts);
    result.interval = bootstrap_interval(counts, kBootstrapSeed);
    result.forward_tokens = tokens_per_forward(set.answers);
    for (const Answer& answer : set.answers) {
      for (const int32_t emitted : answer.emitted) {
        result.histogram.resize(std::max(result.histogram.size(), static_cast<size_t>(emitted)));
        ++result.histogram[static_cast<size_t>(emitted) - 1];
      }
    }
    if (!evaluation_.sampled()) compare(draft, set, result);
    return result;
  }

  // With the walk over ranks and copies, and with plain decoding.
  void compare(Draft draft, const DecodedSet& set, DraftResult& result) const {
    result.simulated = simulated_tau(draft, options_.tree);
    const TreeMatcher matcher(options_.tree);
    for (size_t p = 0; p < traces_.size(); ++p) {
      const Answer& answer = set.answers[p];
      const bool same_tokens = answer.tokens == traces_[p].tokens;
      const bool same_walk = answer.emitted == simulate(traces_[p], draft, matcher, heads_.count());
      result.walk_differences += same_tokens && !same_walk ? 1 : 0;
    }
    compare_with_plain(sets_[0].answers, set.answers, evaluation_.logit_difference, result);
  }

  void measure_speed(const std::vector<Draft>& drafts) {
    const std::vector<Speed> speeds = time_drafts(drafts, timed(), 1, "time answers");
    for (size_t d = 0; d < drafts.size(); ++d) evaluation_.results[d].speed = speeds[d];
  }

  // Behind as many tokens as answers have before them on average, half of their own length included.
  void measure_depths() {
    if (evaluation_.sampled() ||
        (evaluation_.find(Draft::heads) == nullptr && evaluation_.find(Draft::both) == nullptr))
      return;
    int64_t context = evaluation_.tokens / 2;
    for (const Prompt& prompt : prompts_) context += std::ssize(prompt.tokens);
    context = std::max<int64_t>(context / std::ssize(prompts_), 1);
    const auto sizes = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(options_.tree.nodes())));
    std::vector<std::vector<double>> runs;  // [run][depth] seconds
    for (int run = 0; run < kTimedRuns; ++run) {
      const StepCosts costs = measure_step_costs(backbone_, heads_, context, sizes, stream_);
      std::vector<double>& seconds = runs.emplace_back();
      for (int depth = 0; depth <= heads_.count(); ++depth) {
        const DraftTree tree = cut_tree(options_.tree, depth);
        seconds.push_back(costs.seconds(tree.nodes(), tree.depth()));
      }
    }
    keep_depth_seconds(runs, evaluation_);
  }

  // Those that break-even is asked of: heads, alone and with lookup; lookup where nothing else was decoded.
  std::vector<Draft> batch_drafts() const {
    std::vector<Draft> drafts;
    for (const Draft draft : {Draft::heads, Draft::both}) {
      if (evaluation_.find(draft) != nullptr) drafts.push_back(draft);
    }
    if (drafts.empty() && evaluation_.find(Draft::lookup) != nullptr) drafts.push_back(Draft::lookup);
    return drafts;
  }

  void measure_batch(int64_t batch) {
    const std::vector<Draft> drafts = batch_drafts();
    std::vector<Prompt> requests;  // twice the batch: it stays full for a while
    for (size_t i = 0; i < std::max(timed().size(), 2 * static_cast<size_t>(batch)); ++i)
      requests.push_back(prompts_[i % prompts_.size()]);
    std::vector<Speed> speeds;
    if (batch == 1) {  // timed already
      requests.resize(timed().size());
      speeds.push_back(evaluation_.plain().speed);
      for (const Draft draft : drafts) speeds.push_back(evaluation_.find(draft)->speed);
    } else {
      std::vector<Draft> all = {Draft::plain};
      all.insert(all.end(), drafts.begin(), drafts.end());
      speeds = time_drafts(all, requests, batch, fmt::format("time batches of {}", batch));
    }
    for (size_t d = 0; d < drafts.size(); ++d)
      evaluation_.batches.push_back({batch, std::ssize(requests), drafts[d], speeds[0], speeds[d + 1]});
  }

  const Backbone& backbone_;
  const DraftHeads& heads_;
  std::span<const Prompt> prompts_;
  const DecodeEvaluationOptions& options_;
  const Stream& stream_;
  RankShare& share_;
  const StageProgress& stage_;
  std::vector<DecodedSet> sets_;  // plain, then the drafts
  std::vector<Continuation> traces_;
  DecodeEvaluation evaluation_;
};

}  // namespace

std::optional<Divergence> first_divergence(const Answer& plain, const Answer& other, float logit_difference) {
  const auto& expected = plain.tokens;
  const auto& found = other.tokens;
  if (expected == found) return std::nullopt;
  const auto [end, unused] = std::mismatch(expected.begin(), expected.end(), found.begin(), found.end());
  const auto at = static_cast<size_t>(end - expected.begin());
  Divergence divergence;
  divergence.index = static_cast<int64_t>(at);
  divergence.margin = at < plain.margin.size() ? plain.margin[at] : 0.0f;
  const bool is_choice = at < expected.size() && at < found.size();
  divergence.failure = !is_choice || !(divergence.margin <= 2 * logit_difference);
  return divergence;
}

const DraftResult* DecodeEvaluation::find(Draft draft) const {
  const auto found =
      std::find_if(results.begin(), results.end(), [&](const DraftResult& r) { return r.draft == draft; });
  return found == results.end() ? nullptr : &*found;
}

bool DecodeEvaluation::has_speeds() const {
  return std::all_of(results.begin(), results.end(), [](const DraftResult& r) { return r.speed.known; });
}

bool DecodeEvaluation::lossless() const {
  return std::all_of(results.begin(), results.end(), [&](const DraftResult& result) {
    if (exact_arithmetic && (!result.divergences.empty() || result.walk_differences > 0)) return false;
    return std::none_of(result.divergences.begin(), result.divergences.end(),
                        [](const Divergence& d) { return d.failure; });
  });
}

DecodeEvaluation evaluate_decoding(const Backbone& backbone, const DraftHeads& heads,
                                   std::span<const Prompt> prompts, const DecodeEvaluationOptions& options,
                                   const Stream& stream, RankShare& share, const StageProgress& stage) {
  require(!prompts.empty(), "evaluate_decoding", "prompts");
  return DecodeEvaluator(backbone, heads, prompts, options, stream, share, stage).run();
}

}  // namespace gorgon
