#include "trainer/head_trainer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "kernels/convert.h"
#include "kernels/error.h"
#include "kernels/profile.h"
#include "model/head_pass.h"
#include "optim/gradient_clipping.h"
#include "optim/lr_schedule.h"
#include "optim/optimizer.h"

namespace gorgon {

namespace {

constexpr int64_t kRowMultiple = 64;  // few shapes of products, whatever the number of rows

// The rows of one head that have a target it knows, on the host; labels are columns of its outputs.
struct HeadRows {
  std::vector<int32_t> row, label;
  int64_t outside = 0;  // rows whose target it does not know
  int64_t count() const { return static_cast<int64_t>(row.size()); }
};

std::vector<int32_t> on_host(const Tensor& tensor) {
  std::vector<int32_t> values(static_cast<size_t>(tensor.elements()));
  copy_bytes({}, values.data(), tensor.device(), tensor.data(), tensor.bytes());
  return values;
}

std::vector<HeadRows> rows_of_heads(const StateRows& rows, const MedusaHeads& model) {
  const int num_heads = model.options.num_heads;
  std::vector<HeadRows> heads(model.heads.size());
  if (rows.rows() == 0) return heads;
  require(rows.targets.shape() == Shape({rows.rows(), num_heads}), "HeadTrainer", "targets are not [P, K]");
  const std::vector<int32_t> row = on_host(rows.row), targets = on_host(rows.targets);
  for (size_t i = 0; i < row.size(); ++i) {
    for (size_t k = 0; k < heads.size(); ++k) {
      const int32_t label = targets[i * heads.size() + k];
      if (label == kIgnoreIndex) continue;
      const int32_t column = column_of(model.vocab_ids, label);
      if (column < 0 && label >= 0) {
        ++heads[k].outside;
        continue;
      }
      require(column >= 0 && column < model.outputs(), "HeadTrainer", "a target outside the vocabulary");
      heads[k].row.push_back(row[i]);
      heads[k].label.push_back(column);
    }
  }
  return heads;
}

// One chunk on the device: `count` rows, then padding that repeats the first row without a target.
struct Chunk {
  int64_t count;
  Tensor row, label, scale;
};

std::vector<Chunk> chunks_of(const HeadRows& rows, int64_t chunk_rows, float row_scale, Device device) {
  std::vector<Chunk> chunks;
  const int64_t total = rows.count(), pieces = (total + chunk_rows - 1) / chunk_rows;
  if (total == 0) return chunks;
  const int64_t equal = (total + pieces - 1) / pieces;
  const int64_t size = (equal + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
  for (int64_t begin = 0; begin < total; begin += size) {
    const int64_t count = std::min(size, total - begin);
    const auto first = rows.row.begin() + begin;
    const auto first_label = rows.label.begin() + begin;
    std::vector<int32_t> row(first, first + count), label(first_label, first_label + count);
    std::vector<float> scale(static_cast<size_t>(count), row_scale);
    const int64_t padded = (count + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
    row.resize(static_cast<size_t>(padded), *first);
    label.resize(static_cast<size_t>(padded), kIgnoreIndex);
    scale.resize(static_cast<size_t>(padded), 0.0f);
    chunks.push_back({count, Tensor::of(row, {padded}, device), Tensor::of(label, {padded}, device),
                      Tensor::of(scale, {padded}, device)});
  }
  return chunks;
}

void add_losses(const std::vector<double>& losses, int64_t count, HeadMetrics& to) {
  for (int64_t i = 0; i < count; ++i) to.cross_entropy += losses[static_cast<size_t>(i)];
  to.targets += count;
}

void add_hits(const std::vector<int32_t>& hits, int64_t count, HeadMetrics& to) {
  for (int64_t i = 0; i < count; ++i) {
    for (int n = hits[static_cast<size_t>(i)]; n < 5; ++n) ++to.top[n];
  }
}

// Gradients of all parameters, kept until the norm is known, and the f32 sums of the head at work.
struct Gradients {
  std::vector<Tensor> kept;        // T, in the order of parameters()
  std::vector<Tensor> weight_sum;  // bf16 only: [L] of f32[H, H]
  std::vector<Tensor> last_sum;  // bf16 only: f32 for what follows the blocks, when a step has several chunks
  std::vector<Tensor> bias_sum;  // bf16 only: [L] of f32[H]
  Tensor square_sums;            // f32[parameters]
};

}  // namespace

double head_weight(const LossOptions& options, int k, int64_t s, int64_t max_steps) {
  const double done = static_cast<double>(s) / static_cast<double>(std::max<int64_t>(max_steps, 1));
  double schedule = 1.0;
  if (options.scheduler == MedusaScheduler::linear) schedule = done;
  if (options.scheduler == MedusaScheduler::sine) schedule = std::sin(std::numbers::pi / 2.0 * done);
  return options.heads_coefficient * std::pow(options.decay_coefficient, k + 1) * schedule;
}

struct HeadTrainer::Impl {
  HeadTrainerOptions options;
  DType type;
  const Stream& stream;
  MedusaHeads heads;
  std::vector<NamedParameter> parameters;
  std::optional<HeadPass> pass;
  std::optional<Gradients> gradients;
  std::optional<Optimizer> optimizer;
  int64_t adam_steps = 0;

  Impl(const HeadTrainerOptions& o, const WeightMatrix& lm_head, DType t, const Stream& s)
      : options(o),
        type(t),
        stream(s),
        heads(MedusaHeads::initialise(o.heads, lm_head, o.vocab_ids, t, o.seed, s)),
        parameters(gorgon::parameters(heads)) {
    require(options.lr_multiplier.size() == heads.heads.size(), "HeadTrainer", "lr_multiplier is not [K]");
    require(options.chunk_rows > 0 && options.chunk_rows % kRowMultiple == 0, "HeadTrainer",
            "chunk_rows is no multiple of 64");
  }

  size_t parameters_per_head() const { return parameters.size() / heads.heads.size(); }
  void prepare_pass();
  void prepare_training();
  HeadGradients gradients_of(size_t k, bool several_chunks);
  void keep_gradients(size_t k, bool several_chunks);
  void train_head(size_t k, const StateRows& rows, const HeadRows& mine, double weight, HeadMetrics& metrics);
  void measure_gradients(StepResult& result);
};

void HeadTrainer::Impl::prepare_pass() {
  if (pass) return;
  const int64_t rank = options.heads.linear == HeadLinear::lowrank ? options.heads.rank : 0;
  pass.emplace(HeadPassShape{options.chunk_rows, heads.hidden(), heads.outputs(), options.heads.num_layers,
                             type, rank},
               stream.device());
}

void HeadTrainer::Impl::prepare_training() {
  if (optimizer) return;
  const Device device = stream.device();
  gradients.emplace();
  std::vector<ParamGroup> groups;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const NamedParameter& p = parameters[i];
    gradients->kept.push_back(Tensor::zeros(type, p.view.shape, device));
    ParamGroup group;
    group.id = static_cast<uint32_t>(i);
    group.param = p.view;
    group.grad = gradients->kept.back().view();
    group.lr_multiplier = static_cast<float>(options.lr_multiplier[static_cast<size_t>(p.head)]);
    group.weight_decay = p.is_bias ? 0.0f : options.optimizer.weight_decay;
    groups.push_back(group);
  }
  if (type == DType::bf16) {
    for (const MedusaHead::ResBlock& block : heads.heads[0].blocks) {
      gradients->weight_sum.emplace_back(DType::f32, block.weight.shape(), device);
      gradients->bias_sum.emplace_back(DType::f32, block.bias.shape(), device);
    }
  }
  gradients->square_sums = Tensor(DType::f32, {static_cast<int64_t>(parameters.size())}, device);
  optimizer.emplace(options.optimizer, options.seed, std::move(groups), stream);
}

// f32 gradients are summed where they are kept; bf16 ones elsewhere, but for what a single chunk writes once.
HeadGradients HeadTrainer::Impl::gradients_of(size_t k, bool several_chunks) {
  Gradients& g = *gradients;
  const size_t first = k * parameters_per_head(), layers = heads.heads[k].blocks.size();
  const bool narrow = type == DType::bf16;
  HeadGradients views;
  for (size_t l = 0; l < layers; ++l) {
    views.weight.push_back(narrow && several_chunks ? g.weight_sum[l].view() : g.kept[first + 2 * l].view());
    views.bias.push_back(narrow ? g.bias_sum[l].view() : g.kept[first + 2 * l + 1].view());
  }
  std::vector<View> last;  // of what follows the blocks
  for (size_t i = 2 * layers; i < parameters_per_head(); ++i) {
    Tensor& kept = g.kept[first + i];
    if (narrow && several_chunks && g.last_sum.size() <= last.size()) {
      g.last_sum.emplace_back(DType::f32, kept.shape(), kept.device());
    }
    last.push_back(narrow && several_chunks ? g.last_sum[last.size()].view() : kept.view());
  }
  if (options.heads.linear == HeadLinear::own) views.linear = last[0];
  if (options.heads.linear == HeadLinear::lowrank) {
    views.a = last[0];
    views.b = last[1];
  }
  return views;
}

void HeadTrainer::Impl::keep_gradients(size_t k, bool several_chunks) {
  if (type == DType::f32) return;
  const ProfileScope scope(stream, "heads: gradients to bf16");
  Gradients& g = *gradients;
  const size_t first = k * parameters_per_head(), layers = heads.heads[k].blocks.size();
  for (size_t l = 0; l < layers; ++l) {
    if (several_chunks) convert(g.weight_sum[l].view(), g.kept[first + 2 * l].view(), stream);
    convert(g.bias_sum[l].view(), g.kept[first + 2 * l + 1].view(), stream);
  }
  if (!several_chunks) return;
  for (size_t i = 2 * layers; i < parameters_per_head(); ++i) {
    convert(g.last_sum[i - 2 * layers].view(), g.kept[first + i].view(), stream);
  }
}

void HeadTrainer::Impl::train_head(size_t k, const StateRows& rows, const HeadRows& mine, double weight,
                                   HeadMetrics& metrics) {
  metrics.outside += mine.outside;
  if (mine.count() == 0) {  // no loss, hence no gradient
    for (size_t i = 0; i < parameters_per_head(); ++i) {
      Tensor& gradient = gradients->kept[k * parameters_per_head() + i];
      zero_bytes(gradient.device(), gradient.data(), gradient.bytes());
    }
    return;
  }
  const auto row_scale = static_cast<float>(weight / static_cast<double>(mine.count()));
  const std::vector<Chunk> chunks = chunks_of(mine, options.chunk_rows, row_scale, stream.device());
  const HeadGradients to = gradients_of(k, chunks.size() > 1);
  Write write = Write::overwrite;
  for (const Chunk& chunk : chunks) {
    stream.stop_point();
    pass->forward(heads.heads[k], rows.hidden.view(), chunk.row.view(), chunk.label.view(), stream);
    stream.stop_point();
    pass->backward(heads.heads[k], chunk.label.view(), chunk.scale.view(), to, write, stream);
    add_losses(pass->losses(stream), chunk.count, metrics);
    add_hits(pass->hits(stream), chunk.count, metrics);
    write = Write::accumulate;
  }
  keep_gradients(k, chunks.size() > 1);
}

// Global norm, and the first head with a loss or gradient that is not finite.
void HeadTrainer::Impl::measure_gradients(StepResult& result) {
  const ProfileScope scope(stream, "gradient norm");
  Tensor& sums = gradients->square_sums;
  const auto count = static_cast<int64_t>(parameters.size());
  for (int64_t i = 0; i < count; ++i) {
    square_sum(gradients->kept[static_cast<size_t>(i)].view(), sums.view().rows(i, i + 1), stream);
  }
  stream.synchronize();
  std::vector<float> host(parameters.size());
  copy_bytes({}, host.data(), sums.device(), sums.data(), sums.bytes());
  double total = 0;
  for (size_t i = 0; i < host.size(); ++i) {
    total += static_cast<double>(host[i]);
    const size_t k = i / parameters_per_head();
    const bool finite = std::isfinite(host[i]) && std::isfinite(result.heads[k].cross_entropy);
    if (!finite && result.skipped_head < 0) result.skipped_head = static_cast<int>(k);
  }
  result.grad_norm = std::sqrt(total);
  result.skipped = result.skipped_head >= 0;
}

HeadTrainer::HeadTrainer(const HeadTrainerOptions& options, const WeightMatrix& lm_head, DType type,
                         const Stream& stream)
    : impl_(std::make_unique<Impl>(options, lm_head, type, stream)) {}

HeadTrainer::~HeadTrainer() = default;

StepResult HeadTrainer::step(const StateRows& rows, int64_t s) {
  Impl& t = *impl_;
  t.prepare_pass();
  t.prepare_training();
  const int num_heads = t.options.heads.num_heads;
  const std::vector<HeadRows> rows_of = rows_of_heads(rows, t.heads);
  StepResult result;
  result.heads.resize(static_cast<size_t>(num_heads));
  for (size_t k = 0; k < rows_of.size(); ++k) {
    HeadMetrics& metrics = result.heads[k];
    const double weight = head_weight(t.options.loss, static_cast<int>(k), s, t.options.max_steps);
    t.train_head(k, rows, rows_of[k], weight, metrics);
    if (metrics.targets > 0) {
      result.loss += weight * metrics.cross_entropy / static_cast<double>(metrics.targets);
    }
  }
  t.measure_gradients(result);
  result.lr = learning_rate(t.options.lr, s, t.options.max_steps);
  StepScalars scalars;
  scalars.lr = static_cast<float>(result.lr);
  scalars.grad_scale = clip_scale(result.grad_norm, static_cast<double>(t.options.optimizer.max_grad_norm));
  scalars.step = static_cast<int32_t>(t.adam_steps + 1);
  scalars.skip = result.skipped ? 1 : 0;
  {
    const ProfileScope scope(t.stream, "AdamW");
    t.optimizer->step(scalars, t.stream);
  }
  if (!result.skipped) ++t.adam_steps;
  return result;
}

void HeadTrainer::evaluate(const StateRows& rows, std::vector<HeadMetrics>& sums) {
  Impl& t = *impl_;
  t.prepare_pass();
  const std::vector<HeadRows> rows_of = rows_of_heads(rows, t.heads);
  sums.resize(rows_of.size());
  for (size_t k = 0; k < rows_of.size(); ++k) {
    sums[k].outside += rows_of[k].outside;
    for (const Chunk& chunk : chunks_of(rows_of[k], t.options.chunk_rows, 0.0f, t.stream.device())) {
      t.stream.stop_point();
      t.pass->forward(t.heads.heads[k], rows.hidden.view(), chunk.row.view(), chunk.label.view(), t.stream);
      t.pass->count_hits(chunk.label.view(), t.stream);
      add_losses(t.pass->losses(t.stream), chunk.count, sums[k]);
      add_hits(t.pass->hits(t.stream), chunk.count, sums[k]);
    }
  }
}

MedusaHeads& HeadTrainer::heads() {
  return impl_->heads;
}

int64_t HeadTrainer::adam_steps() const {
  return impl_->adam_steps;
}

void HeadTrainer::set_adam_steps(int64_t t) {
  impl_->adam_steps = t;
}

std::vector<HeadTrainer::NamedState> HeadTrainer::optimizer_state() {
  Impl& t = *impl_;
  t.prepare_training();
  std::vector<NamedState> all;
  for (size_t i = 0; i < t.parameters.size(); ++i) {
    for (const Optimizer::NamedState& state : t.optimizer->states(i)) {
      all.push_back({"optimizer." + t.parameters[i].name + "." + state.name, state.view});
    }
  }
  return all;
}

}  // namespace gorgon
