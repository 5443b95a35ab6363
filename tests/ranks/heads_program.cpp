// One rank of heads_test.cpp: heads trained by all ranks beside heads that this process trains alone, row by
// row of a table of forms, in one job. Prints a line for every row that is not as expected, and the number of
// rows.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>

#include <fmt/format.h>

#include "kernels/convert.h"
#include "kernels/error.h"
#include "kernels/ranks/rank_group.h"
#include "optim/adamw.h"
#include "tests/emulation/moved_model.h"
#include "tests/model/tiny_model.h"
#include "tests/ranks/comparison.h"
#include "tests/ranks/heads_device.h"
#include "tests/ranks/heads_rows.h"
#include "trainer/head_chunks.h"
#include "trainer/head_trainer.h"
#include "trainer/heads_file.h"
#include "trainer/parallel_heads.h"
#include "trainer/state_source.h"

namespace gorgon {
namespace {

constexpr int64_t kBatch = 5, kMicroBatch = 2;
// f32 sums in another order move a loss by some 1e-7 of its value in a step and what Adam makes of the
// smallest gradients adds to it; gradients are sums of a few hundred products.
constexpr double kLossBound = 5e-6, kGradientBound = 1e-6;

struct Result {
  std::vector<StepResult> steps;
  std::vector<std::vector<float>> gradients;  // first moments behind the first step: a tenth of them
  std::vector<HeadMetrics> evaluation;
  StepTraffic expected;                          // of the last step
  int64_t received = 0;                          // in it, by this rank: counted where it arrives
  int64_t told = 0;                              // as the communicators tell it
  std::vector<Given> states_order, heads_order;  // of the last step
};

std::vector<float> floats_of(ConstView view) {
  std::vector<float> values(static_cast<size_t>(view.elements()));
  copy_bytes({}, values.data(), view.device, view.data, bytes_of(view.type, view.elements()));
  return values;
}

class Run {
 public:
  Run(const Row& row, TinyModel& model, const HeadRanks& ranks)
      : row_(row),
        ranks_(ranks),
        stream_(heads_device(), 1),
        dataset_(sequences_of(model, row.wrapped)),
        weights_(moved(model.weights(), heads_device())),
        backbone_(weights_, DType::f32),
        source_(online_source(backbone_, dataset_, source_options())),
        trainer_(options_of(row), weights_.lm_head, row.type(), stream_, ranks),
        shapes_{trainer_.heads().options, kHidden, trainer_.heads().outputs(), DType::f32} {}

  Result train() {
    Result result;
    for (int64_t s = 1; s <= kSteps; ++s) {
      const int64_t before = received(), told = bytes_told();
      StateRows rows;
      trainer_.start_weights();
      start_recording();
      source_->next(rows, stream_);
      result.states_order = recorded(stream_);
      start_recording();
      result.steps.push_back(trainer_.step(rows, s));
      result.heads_order = recorded(stream_);
      result.received = received() - before;
      result.told = bytes_told() - told;
      result.expected = traffic(rows);
      if (s == 1) take_gradients(result);
      if (s == kSteps) evaluate(result);
    }
    return result;
  }

  // One step; `spoiled`: the first state that this rank holds is not a number.
  StepResult step(int64_t s, bool spoiled) {
    StateRows rows;
    source_->next(rows, stream_);
    const float nan = std::nanf("");
    if (spoiled) copy_bytes(stream_.device(), rows.hidden.data(), {}, &nan, sizeof nan);
    return trainer_.step(rows, s);
  }
  // The next rows of the source, in the type of the heads.
  StateRows next_rows() {
    StateRows rows;
    source_->next(rows, stream_);
    if (row_.type() == DType::f32) return rows;
    Tensor narrow(row_.type(), rows.hidden.shape(), stream_.device());
    convert(rows.hidden.view(), narrow.view(), stream_);
    rows.hidden = std::move(narrow);
    return rows;
  }
  StepResult step_on(const StateRows& rows, int64_t s) { return trainer_.step(rows, s); }
  // Everything that a step changes, of all ranks: weights, moments, the optimizer's count.
  std::vector<std::byte> all_states() {
    trainer_.finish_weights();
    std::vector<std::byte> bytes{static_cast<std::byte>(trainer_.adam_steps())};
    StateExchange exchange(ranks_, stream_);
    const auto add = [&](const NamedState& state) {
      const ConstView whole = exchange.gather(state);
      const int64_t size = bytes_of(whole.type, whole.elements());
      bytes.resize(bytes.size() + static_cast<size_t>(size));
      copy_bytes({}, &*bytes.end() - size, whole.device, whole.data, size);
    };
    for (const NamedState& state : head_states(trainer_.heads())) add(state);
    for (const NamedState& state : trainer_.optimizer_state()) add(state);
    return bytes;
  }
  std::vector<NamedState> optimizer_state() { return trainer_.optimizer_state(); }

 private:
  int64_t received() const {
    if (!ranks_.is_several()) return 0;
    const int64_t on_device = ranks_.device == ranks_.host ? 0 : heads_bytes_received(*ranks_.device);
    return ranks_.host->bytes_received() + on_device;
  }
  int64_t bytes_told() const {
    if (!ranks_.is_several()) return 0;
    const int64_t on_device = ranks_.device == ranks_.host ? 0 : ranks_.device->bytes_received();
    return ranks_.host->bytes_received() + on_device;
  }
  SourceOptions source_options() const {
    SourceOptions options{row_.heads, kBatch, kMicroBatch, true, 7};
    if (!ranks_.is_several()) return options;
    options.rank = ranks_.host->rank();
    options.ranks = ranks_.host->size();
    options.gather = ranks_.divided ? ranks_.device : nullptr;
    return options;
  }
  StepTraffic traffic(const StateRows& rows) {
    if (!ranks_.is_several()) return {};
    if (!ranks_.divided) return replicate_traffic(shapes_, ranks_.host->size());
    int64_t padded = 0;
    for (const HeadRows& head : rows_of_heads(rows, trainer_.heads())) {
      padded += (head.count() + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
    }
    return vocab_traffic(shapes_, rows.states(), padded, ranks_.host->size());
  }
  void take_gradients(Result& result) {
    StateExchange exchange(ranks_, stream_);
    for (const NamedState& state : trainer_.optimizer_state()) {
      const ConstView whole = exchange.gather(state);
      if (state.name.ends_with(".momentum")) result.gradients.push_back(floats_of(whole));
    }
  }
  // Rows of all sequences, on every rank.
  void evaluate(Result& result) {
    std::vector<int64_t> all;
    for (int64_t i = 0; i < dataset_.sequences(); ++i) all.push_back(i);
    const StateRows rows = forward_state_rows(backbone_, dataset_.gather(all), row_.heads, 3, stream_);
    trainer_.finish_weights();
    trainer_.evaluate(rows, result.evaluation);
  }

  Row row_;
  HeadRanks ranks_;
  Stream stream_;
  Dataset dataset_;
  ModelWeights weights_;
  Backbone backbone_;
  std::unique_ptr<StateSource> source_;
  HeadTrainer trainer_;
  HeadShapes shapes_;
};

Result run(const Row& row, const HeadRanks& ranks) {
  TinyModel model(11, kVocabulary);
  return Run(row, model, ranks).train();
}

// Of every head: weights and biases of its ResBlocks, and its Linear (or A and B).
int64_t trained_tensors(const Row& row) {
  const int64_t of_linear = row.linear == HeadLinear::own ? 1 : row.linear == HeadLinear::lowrank ? 2 : 0;
  return row.heads * (2 * row.layers + of_linear);
}

void compare(const Row& row, const Result& found, const Result& alone, Comparison& check) {
  check.equal("gradients", std::ssize(found.gradients), trained_tensors(row));
  check.equal("gradients of one process", std::ssize(alone.gradients), trained_tensors(row));
  check.equal("evaluated heads", std::ssize(found.evaluation), row.heads);
  for (size_t s = 0; s < kSteps; ++s) {
    const StepResult &a = found.steps[s], &b = alone.steps[s];
    const std::string at = fmt::format("step {} ", s + 1);
    check.close(at + "loss", a.loss, b.loss, kLossBound);
    check.close(at + "grad_norm", a.grad_norm, b.grad_norm, kLossBound);
    for (size_t k = 0; k < a.heads.size(); ++k) {
      const HeadMetrics &x = a.heads[k], &y = b.heads[k];
      check.close(fmt::format("{}head {}", at, k + 1), x.cross_entropy, y.cross_entropy, kLossBound);
      check.equal(at + "targets", x.targets, y.targets);
      check.equal(at + "outside", x.outside, y.outside);
      for (int n = 0; n < 5 && s == 0; ++n)
        check.equal(fmt::format("top-{} of head {}", n + 1, k + 1), x.top[n], y.top[n]);
    }
  }
  for (size_t i = 0; i < found.gradients.size(); ++i) {
    check.normwise(fmt::format("gradient {}", i), found.gradients[i], alone.gradients[i], kGradientBound);
  }
  for (size_t k = 0; k < found.evaluation.size(); ++k) {
    check.close(fmt::format("evaluation of head {}", k + 1), found.evaluation[k].cross_entropy,
                alone.evaluation[k].cross_entropy, kLossBound);
    check.equal("evaluated targets", found.evaluation[k].targets, alone.evaluation[k].targets);
  }
}

// Of what a GPU was given: collectives at the side, and work of its own behind the first of them, in front of
// the n-th of its waits for one. `groups`: how often work of its own stands in front of a collective.
struct Overlap {
  int64_t collectives = 0, groups = 0;
};
Overlap overlap_before_wait(const std::vector<Given>& order, int64_t n) {
  Overlap found;
  bool worked = false;
  for (const Given given : order) {
    if (given == Given::wait && --n == 0) break;
    if (given == Given::work) {
      worked = true;
    } else if (given == Given::collective) {
      found.groups += worked ? 1 : 0;
      ++found.collectives;
      worked = false;
    }
  }
  return found;
}

// Behind the weights that the step before has asked for, gradients of a head are on their way while the next
// one is computed (replicate); states are while the backbone is at the next micro-batch (vocab): nothing
// waits for them before all of them are asked for.
void check_overlap(const Row& row, const Result& found, int ranks, Comparison& check) {
  if (found.heads_order.empty()) return;  // a CPU
  if (!row.divided) {
    const int64_t parameters = row.linear == HeadLinear::own ? 3 : 4, all = row.heads * parameters;
    const Overlap heads = overlap_before_wait(found.heads_order, all + 1);
    check.equal("gradients, and losses, asked for before one is waited for", heads.collectives, all + 1);
    check.equal("heads computed before that", heads.groups, row.heads);
    return;
  }
  // Of the last step's sequences; the rank with most of them makes the micro-batches.
  const int64_t own = (kBatch + ranks - 1) / ranks, batches = (own + kMicroBatch - 1) / kMicroBatch;
  const Overlap states = overlap_before_wait(found.states_order, 1);
  check.equal("states asked for before one is waited for", states.collectives, batches);
}

// A state that the last rank alone has is not a number: all ranks skip that step, nothing of theirs changes,
// and the next one is a step again.
void check_skipped_together(const Row& row, const HeadRanks& ranks, Comparison& check) {
  TinyModel model(11, kVocabulary);
  Run run(row, model, ranks);
  const bool is_last = ranks.host->rank() == ranks.host->size() - 1;
  check.equal("a step skipped", run.step(1, false).skipped ? 1 : 0, 0);
  const std::vector<std::byte> before = run.all_states();
  const StepResult spoiled = run.step(2, is_last);
  check.equal("a spoiled step skipped", spoiled.skipped ? 1 : 0, 1);
  check.equal("the head that is not finite", spoiled.skipped_head >= 0 ? 1 : 0, 1);
  check.equal("states as before the spoiled step", run.all_states() == before ? 1 : 0, 1);
  check.equal("the step behind it skipped", run.step(3, false).skipped ? 1 : 0, 0);
  check.equal("states as before the step behind it", run.all_states() == before ? 1 : 0, 0);
}

// Where one rank has all rows, the sum of the gradients is its own, to the bit: weights rounded at random and
// states of eight bits, which the ranks update by parts, are those of one process, and no rank holds more of
// the states than its part.
void check_bits_of_one_process(Row row, const HeadRanks& ranks, Comparison& check) {
  row.narrow = true;
  TinyModel model(11, kVocabulary), same(11, kVocabulary);
  Run alone(row, model, {}), together(row, same, ranks);
  const std::vector<std::byte> start = alone.all_states();
  const bool has_rows = ranks.host->rank() == ranks.host->size() - 1;
  const StateRows none;
  for (int64_t s = 1; s <= kSteps; ++s) {
    const StateRows rows = alone.next_rows();
    alone.step_on(rows, s);
    together.step_on(has_rows ? rows : none, s);
  }
  const std::vector<std::byte> expected = alone.all_states();
  check.equal("states changed by three steps", expected != start ? 1 : 0, 1);
  check.equal("states of one process, to the bit", together.all_states() == expected ? 1 : 0, 1);
  for (const NamedState& state : together.optimizer_state()) {
    const int64_t most = state.whole.elements() / ranks.host->size() + kStateBlock;
    check.equal(state.name + " of one rank", state.view.elements() <= most ? 1 : 0, 1);
  }
}

void compare_bytes(const Result& found, RankGroup& group, bool on_gpu, Comparison& check) {
  std::vector<int64_t> bytes{found.received, found.told};
  all_reduce(group.host(), bytes, ReduceOp::sum, "bytes");
  check.equal("bytes of a step", bytes[0], found.expected.total());
  // A communicator of GPUs tells an n-th of an all_reduce's bytes on every rank, rounded down.
  const int64_t rounding = on_gpu ? 64 * group.size() : 0;
  check.equal("bytes as told", std::abs(bytes[1] - bytes[0]) <= rounding ? 1 : 0, 1);
}

int run_all(RankGroup& group, const std::string& which) {
  Communicator* device = &group.on(heads_device());
  int rows = 0, failed = 0;
  for (const Row& row : table(which)) {
    const HeadRanks ranks{&group.host(), device, row.divided};
    const Result alone = run(row, {});
    const Result found = run(row, ranks);
    Comparison check(row.name());
    compare(row, found, alone, check);
    if (row.filter > 0) {
      Row whole = row;
      whole.filter = 0;
      const double dropped = distance(alone.gradients.back(), run(whole, {}).gradients.back());
      check.equal("a filter that drops tokens", dropped > kDropped ? 1 : 0, 1);
    }
    if (row.heads == 2 && row.vocabulary == 0 && row.linear != HeadLinear::shared) {
      check_skipped_together(row, ranks, check);
      if (!row.divided) check_bits_of_one_process(row, ranks, check);
    }
    compare_bytes(found, group, device != &group.host(), check);
    check_overlap(row, found, group.size(), check);
    ++rows;
    failed += check.failed() ? 1 : 0;
  }
  fmt::print("rank {} of {}: {} rows, {} failed\n", group.rank(), group.size(), rows, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace gorgon

int main(int argc, char** argv) {
  using namespace gorgon;
  MeetingTerms terms;
  terms.seconds = 30;
  const LaunchEnvironment launched =
      read_launch_environment([](const char* name) { return std::getenv(name); });
  RankGroup group(launched, terms, [](const std::string& line, bool) {
    fmt::print(stderr, "lost: {}\n", line);
    std::_Exit(7);
  });
  int status = 1;
  try {
    status = run_all(group, argc > 1 ? argv[1] : "");
    group.leave();
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    std::fflush(stderr);
    std::_Exit(1);
  }
  return status;
}
