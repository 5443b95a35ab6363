#include <chrono>
#include <cmath>

#include "bench/gpu/gpu_bench.h"
#include "kernels/error.h"
#include "kernels/fp8_linear.h"
#include "kernels/gemm.h"
#include "kernels/vocabulary_cross_entropy.h"
#include "model/backbone.h"
#include "optim/optimizer.h"
#include "trainer/head_trainer.h"
#include "trainer/overlapped_source.h"
#include "trainer/state_source.h"

namespace gorgon::bench {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 3;

HeadTrainerOptions trainer_options() {
  HeadTrainerOptions options;
  options.heads = {kHeads, 1};
  options.lr_multiplier.assign(kHeads, 1.0);
  options.max_steps = 1000;
  return options;
}

struct Job {
  int64_t tokens, length;
  double supervised_share;
};

// Rows that head k trains on, summed over heads, in a step of a job: a head's floor is of its own rows.
int64_t rows_of_all_heads(const RowTable& table) {
  int64_t rows = 0;
  for (const int32_t target : table.targets) rows += target == kIgnoreIndex ? 0 : 1;
  return rows;
}

struct Model {
  const Sizes& sizes;
  const Backbone& backbone;
  HeadTrainer& trainer;
};

constexpr int64_t kBefore = 4, kTimed = 5;  // steps

// The same sequences in every step.
class SameSequences : public StateSource {
 public:
  SameSequences(const Backbone& backbone, const Sequences& sequences)
      : backbone_(backbone), sequences_(sequences) {}
  int64_t steps_per_epoch() const override { return 1; }
  int64_t next(StateRows& rows, const Stream& stream) override {
    forward_state_rows(backbone_, sequences_, kHeads, sequences_.count(), rows, stream, &repeated_);
    ++state_.epoch;
    return std::ssize(sequences_.tokens);
  }
  const LoaderState& state() const override { return state_; }
  void restore(const LoaderState& state) override { state_ = state; }

 private:
  const Backbone& backbone_;
  const Sequences& sequences_;
  RepeatedWork repeated_;
  LoaderState state_;
};

// Seconds of a step in a row of them, each begun before the results of the last are read, as a run does it.
// The first ones find their memory and record their graphs. The last result is left in `last`.
double seconds_of_steps(const Model& model, StateSource& source, const Stream& stream, StepResult& last) {
  StateRows rows;
  Clock::time_point begin;
  for (int64_t step = 1; step <= kBefore + kTimed; ++step) {
    source.next(rows, stream);
    model.trainer.begin(rows, step);
    if (step > 1 && step != kBefore + 1) last = model.trainer.finish();
    if (step != kBefore) continue;
    last = model.trainer.finish();
    stream.synchronize();
    begin = Clock::now();
  }
  last = model.trainer.finish();
  stream.synchronize();
  return std::chrono::duration<double>(Clock::now() - begin).count() / static_cast<double>(kTimed);
}

// Forward, gradient and the three products of the vocabulary's Linear for one head, `rows` at a time.
Line measure_cross_entropy(const Model& model, int64_t rows, Floor& floor, const Stream& stream) {
  const int64_t hidden = model.sizes.hidden, vocabulary = model.sizes.vocabulary;
  const Tensor x = random_tensor(DType::bf16, {rows, hidden}, 1.0f, 5, stream);
  const Tensor weight = random_tensor(DType::bf16, {vocabulary, hidden}, 0.02f, 6, stream);
  const Tensor labels =
      Tensor::of(std::vector<int32_t>(static_cast<size_t>(rows), 7), {rows}, stream.device());
  const Tensor scale =
      Tensor::of(std::vector<float>(static_cast<size_t>(rows), 1e-4f), {rows}, stream.device());
  Tensor logits(DType::bf16, {rows, vocabulary}, stream.device()),
      dx(DType::f32, {rows, hidden}, stream.device());
  Tensor dw(DType::bf16, {vocabulary, hidden}, stream.device()), hits(DType::i32, {rows}, stream.device());
  Tensor max(DType::f32, {rows}, stream.device()), sum(DType::f32, {rows}, stream.device());
  Tensor label_logit(DType::f32, {rows}, stream.device());
  const CrossEntropyStatistics statistics{max.view(), sum.view(), label_logit.view()};
  const double seconds = seconds_of(stream, kRounds, [&] {
    cross_entropy_statistics(x.view(), weight.view(), labels.view(), 0, logits.view(), statistics, stream);
    cross_entropy_gradient(logits.view(), labels.view(), 0, statistics, scale.view(), hits.view(), stream);
    gemm(logits.view(), x.view(), dw.view(), {.transpose_a = true}, stream);
    gemm(logits.view(), weight.view(), dx.view(), {}, stream);
  });
  const double products = floor.seconds(
      {{rows, vocabulary, hidden, 1}, {vocabulary, hidden, rows, 1}, {rows, hidden, vocabulary, 1}});
  Line line("cross_entropy");
  line.add("model", model.sizes.name)
      .add("rows", rows)
      .add("seconds", seconds)
      .add("products_seconds", products)
      .add("share_of_products", products / seconds);
  return line;
}

Line measure_step(const Model& model, const Job& job, Floor& floor, const Stream& stream) {
  const Sequences sequences = random_sequences(model.sizes, job.tokens, job.length, job.supervised_share);
  const int64_t all = sequences.count();
  StateRows rows;
  RepeatedWork repeated;
  const auto run_backbone = [&] {
    forward_state_rows(model.backbone, sequences, kHeads, all, rows, stream, &repeated);
  };
  run_backbone();
  const double forward = seconds_of(stream, kRounds, run_backbone);
  StepResult last;
  SameSequences source(model.backbone, sequences);
  const double whole = seconds_of_steps(model, source, stream, last);
  const int64_t head_rows = rows_of_all_heads(supervised_rows(sequences, kHeads)) / kHeads;
  const double backbone_floor = floor.seconds(backbone_products(model.sizes, job.tokens));
  const double heads_floor = floor.seconds(head_products(model.sizes, head_rows));
  Line line("step");
  line.add("model", model.sizes.name)
      .add("tokens", job.tokens)
      .add("length", job.length)
      .add("supervised_share", job.supervised_share)
      .add("seconds", whole)
      .add("tokens_per_s", static_cast<double>(job.tokens) / whole)
      .add("backbone_seconds", forward)
      .add("backbone_products_seconds", backbone_floor)
      .add("backbone_share_of_products", backbone_floor / forward)
      .add("head_products_seconds", heads_floor)
      .add("share_of_products", (backbone_floor + heads_floor) / whole)
      .add("loss_is_finite", int64_t{std::isfinite(last.loss) && !last.skipped});
  return line;
}

// Steps with overlap_backbone beside steps without, in turns: the better of two each.
Line measure_overlap(const Model& model, const Job& job, const Stream& stream) {
  const Sequences sequences = random_sequences(model.sizes, job.tokens, job.length, job.supervised_share);
  const auto same = [&] { return std::make_unique<SameSequences>(model.backbone, sequences); };
  double plain = 1e9, overlapped = 1e9;
  StepResult last;
  for (int round = 0; round < 2; ++round) {
    plain = std::min(plain, seconds_of_steps(model, *same(), stream, last));
    const auto source = overlapped_source(same(), {kBefore + kTimed, 1, 0}, stream);
    overlapped = std::min(overlapped, seconds_of_steps(model, *source, stream, last));
  }
  Line line("overlap_backbone");
  line.add("model", model.sizes.name)
      .add("tokens", job.tokens)
      .add("length", job.length)
      .add("seconds", overlapped)
      .add("seconds_without", plain)
      .add("gain", plain / overlapped);
  return line;
}

Line measure_fp8(const Model& model, const ModelWeights& weights, const Job& job, const Stream& stream) {
  const Sequences sequences = random_sequences(model.sizes, job.tokens, job.length, job.supervised_share);
  const Backbone fp8(weights, DType::bf16);
  const auto seconds = [&](const Backbone& backbone) {
    SameSequences source(backbone, sequences);
    StateRows rows;
    for (int i = 0; i < 2; ++i) source.next(rows, stream);
    return seconds_of(stream, kRounds, [&] { source.next(rows, stream); });
  };
  const double in_bf16 = seconds(model.backbone), in_fp8 = seconds(fp8);
  Line line("backbone_fp8");
  line.add("model", model.sizes.name)
      .add("tokens", job.tokens)
      .add("length", job.length)
      .add("seconds", in_fp8)
      .add("seconds_bf16", in_bf16)
      .add("gain", in_bf16 / in_fp8);
  return line;
}

// What is opt-in, beside what it replaces.
void measure_options(const Model& model, const ModelWeights& weights, const std::vector<int64_t>& tokens,
                     const Stream& stream, const std::function<bool()>& out_of_time, const Sink& sink) {
  const bool is_gpu = stream.device().kind == DeviceKind::cuda;
  for (const int64_t count : tokens) {
    if (is_gpu && !out_of_time()) {
      sink(measure_overlap(model, {count, std::min<int64_t>(256, count), 1.0}, stream));
    }
  }
  if (!has_fp8(stream.device()) || out_of_time()) return;
  const ModelWeights fp8 = in_fp8(weights, stream);
  for (const int64_t count : tokens) {
    if (!out_of_time()) sink(measure_fp8(model, fp8, {count, std::min<int64_t>(256, count), 1.0}, stream));
  }
}

}  // namespace

double Floor::seconds(const std::vector<Product>& products) {
  double total = 0;
  for (const Product& p : products) {
    double& known = known_[{p.m, p.n, p.k}];
    if (known == 0) {
      constexpr int kCalls = 5;
      const Tensor a = random_tensor(DType::bf16, {p.m, p.k}, 1.0f, 1, stream_);
      const Tensor b = random_tensor(DType::bf16, {p.n, p.k}, 1.0f, 2, stream_);
      Tensor c(DType::bf16, {p.m, p.n}, stream_.device());
      known = seconds_of(stream_, kRounds,
                         [&] {
                           for (int i = 0; i < kCalls; ++i) {
                             gemm(a.view(), b.view(), c.view(), {.transpose_b = true}, stream_);
                           }
                         }) /
              kCalls;
    }
    total += p.count * known;
  }
  return total;
}

std::vector<Product> backbone_products(const Sizes& s, int64_t tokens) {
  const auto layers = static_cast<int>(s.layers);
  return {{tokens, (s.heads + 2 * s.kv_heads) * s.head_dim, s.hidden, layers},
          {tokens, s.hidden, s.heads * s.head_dim, layers},
          {tokens, 2 * s.intermediate, s.hidden, layers},
          {tokens, s.hidden, s.intermediate, layers}};
}

std::vector<Product> head_products(const Sizes& s, int64_t rows) {
  return {{rows, s.vocabulary, s.hidden, kHeads},
          {s.vocabulary, s.hidden, rows, kHeads},
          {rows, s.hidden, s.vocabulary, kHeads},
          {rows, s.hidden, s.hidden, kHeads},
          {s.hidden, s.hidden, rows, kHeads}};
}

// The two ceilings: bytes of a copy on the device, read and written, and operations of a large product.
void measure_machine(const Stream& stream, const Sink& sink) {
  const bool is_gpu = stream.device().kind == DeviceKind::cuda;
  const int64_t bytes = is_gpu ? int64_t{4} << 30 : int64_t{1} << 20, n = is_gpu ? 8192 : 64;
  const Tensor from = Tensor::zeros(DType::u8, {bytes}, stream.device());
  Tensor to(DType::u8, {bytes}, stream.device());
  const double copy = seconds_of(
      stream, kRounds, [&] { copy_bytes(stream.device(), to.data(), stream.device(), from.data(), bytes); });
  Floor floor(stream);
  const double product = floor.seconds({{n, n, n, 1}});
  sink(Line("machine")
           .add("copy_bytes_per_s", 2.0 * static_cast<double>(bytes) / copy)
           .add("bf16_flop_per_s", 2.0 * std::pow(static_cast<double>(n), 3) / product));
}

// Bytes that 8-bit AdamW must move per bf16 weight: weight and two codes read and written, gradient read.
void measure_optimizer(const Stream& stream, const Sink& sink) {
  const bool is_gpu = stream.device().kind == DeviceKind::cuda;
  const int64_t elements = is_gpu ? int64_t{1} << 29 : int64_t{1} << 14;
  constexpr int64_t kBytes = 2 * 2 + 2 + 2 * 2;
  Tensor param = random_tensor(DType::bf16, {elements}, 0.02f, 1, stream);
  const Tensor grad = random_tensor(DType::bf16, {elements}, 1e-3f, 2, stream);
  ParamGroup group;
  group.param = param.view();
  group.grad = grad.view();
  Optimizer optimizer({}, 1, {group}, stream);
  const StepScalars scalars{1e-4f, 1.0f, 1, 0};
  const double seconds = seconds_of(stream, 7, [&] { optimizer.step(scalars, stream); });
  sink(Line("adamw_8bit")
           .add("elements", elements)
           .add("seconds", seconds)
           .add("bytes_per_s", static_cast<double>(elements * kBytes) / seconds));
}

void measure_steps(const Sizes& sizes, const std::vector<int64_t>& tokens, const Stream& stream,
                   const std::function<bool()>& out_of_time, const Sink& sink) {
  const ModelWeights weights = random_model(sizes, stream);
  const Backbone backbone(weights, DType::bf16);
  HeadTrainer trainer(trainer_options(), weights.lm_head, DType::bf16, stream);
  Floor floor(stream);
  sink(measure_cross_entropy({sizes, backbone, trainer}, std::min<int64_t>(4096, tokens.front()), floor,
                             stream));
  for (const int64_t count : tokens) {
    for (const auto& [length, share] :
         {std::pair<int64_t, double>{256, 1.0}, {256, 0.25}, {1024, 1.0}, {2048, 1.0}}) {
      const Job job{count, std::min(length, count), share};
      if (out_of_time()) {
        sink(Line("step")
                 .add("model", sizes.name)
                 .add("tokens", job.tokens)
                 .add("length", job.length)
                 .add("supervised_share", job.supervised_share)
                 .add("not_measured", "out of time"));
        continue;
      }
      sink(measure_step({sizes, backbone, trainer}, job, floor, stream));
    }
  }
  measure_options({sizes, backbone, trainer}, weights, tokens, stream, out_of_time, sink);
}

// Samples of some 130 tokens, packed to 256, in 3 epochs of steps of 16 sequences, with an evaluation every
// 15 steps.
void measure_reference_job(const Sizes& sizes, const ReferenceJob& job, const Stream& stream,
                           const std::function<bool()>& out_of_time, const Sink& sink) {
  constexpr int64_t kBatch = 16, kEpochs = 3, kEvaluateEvery = 15;
  const int64_t length = job.length, samples = job.samples;
  const auto packed = [&](int64_t count) { return (count * job.sample_tokens + length - 1) / length; };
  const int64_t steps = kEpochs * ((packed(samples) + kBatch - 1) / kBatch);
  const ModelWeights weights = random_model(sizes, stream);
  const Backbone backbone(weights, DType::bf16);
  HeadTrainer trainer(trainer_options(), weights.lm_head, DType::bf16, stream);
  const Sequences train = random_sequences(sizes, kBatch * length, length, 1.0);
  const Sequences test = random_sequences(sizes, packed(job.evaluation_samples) * length, length, 1.0);
  StateRows rows, test_rows;
  RepeatedWork repeated;
  std::vector<HeadMetrics> metrics;
  Line line("reference_job");
  line.add("model", sizes.name).add("samples", samples).add("steps", steps);
  const auto begin = Clock::now();
  bool open = false;
  for (int64_t step = 1; step <= steps; ++step) {
    if (out_of_time()) return sink(line.add("not_measured", "out of time"));
    forward_state_rows(backbone, train, kHeads, kBatch, rows, stream, &repeated);
    trainer.begin(rows, step);
    if (open) trainer.finish();
    open = step % kEvaluateEvery != 0;
    if (open) continue;
    trainer.finish();
    forward_state_rows(backbone, test, kHeads, kBatch, test_rows, stream);
    trainer.evaluate(test_rows, metrics);
  }
  if (open) trainer.finish();
  stream.synchronize();
  line.add("seconds", std::chrono::duration<double>(Clock::now() - begin).count());
  sink(line);
}

}  // namespace gorgon::bench
