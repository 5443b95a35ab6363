#include "trainer/head_trainer.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <optional>

#include "kernels/convert.h"
#include "kernels/error.h"
#include "kernels/profile.h"
#include "kernels/repeated_work.h"
#include "kernels/transfer.h"
#include "model/head_pass.h"
#include "optim/gradient_clipping.h"
#include "optim/lr_schedule.h"
#include "optim/optimizer.h"
#include "optim/step_scalars.h"
#include "trainer/head_chunks.h"
#include "trainer/head_gradients.h"
#include "trainer/optimizer_states.h"
#include "trainer/step_report.h"

namespace gorgon {

namespace {

void add_sums(const LossSums& sums, HeadMetrics& to) {
  to.cross_entropy += sums.cross_entropy;
  for (int n = 0; n < 5; ++n) to.top[n] += sums.top[n];
}

std::optional<HeadShard> shard_of(const HeadTrainerOptions& options, const WeightMatrix& lm_head,
                                  const HeadRanks& ranks) {
  if (!ranks.is_several() || !ranks.divided) return std::nullopt;
  const int64_t outputs = options.vocab_ids.empty() ? lm_head.rows : std::ssize(options.vocab_ids);
  return shard_heads(options.heads, outputs, lm_head.columns, kStateBlock, ranks.host->rank(),
                     ranks.host->size());
}

constexpr Purpose kSums{
    "the gradient sums of the head at work",
    "set medusa_vocab: seen or medusa_head_linear: lowrank, or lower global_batch_size to "
    "have one chunk of rows"};

// Kinds of repeated work.
enum Work : int64_t { kChunkWork, kNormWork, kUpdateWork };

}  // namespace

struct HeadTrainer::Impl {
  HeadTrainerOptions options;
  DType type;
  const Stream& stream;
  MedusaHeads heads;
  std::vector<NamedParameter> parameters;
  std::optional<HeadPass> pass;
  std::optional<ChunkOnDevice> chunk;
  StepReport report;
  std::optional<KeptGradients> gradients;
  std::optional<Optimizer> optimizer;
  int64_t adam_steps = 0;
  RepeatedWork repeated;
  struct Begun {
    StepResult result;            // what the host knows of it
    std::vector<double> weights;  // of the heads' losses
  };
  std::deque<Begun> begun;  // oldest first
  HeadRanks ranks;
  GradientExchange exchange;

  Impl(const HeadTrainerOptions& o, const WeightMatrix& lm_head, DType t, const Stream& s, const HeadRanks& r)
      : options(o),
        type(t),
        stream(s),
        heads(MedusaHeads::initialise(o.heads, lm_head, o.vocab_ids, t, o.seed, s, shard_of(o, lm_head, r))),
        parameters(gorgon::parameters(heads)),
        report(heads.heads.size(), parameters.size(), s.device()),
        repeated(!r.is_several()),
        ranks(r),
        exchange(r, heads, parameters, s) {
    require(options.lr_multiplier.size() == heads.heads.size(), "HeadTrainer", "lr_multiplier is not [K]");
    if (options.chunk_rows == 0) options.chunk_rows = default_chunk_rows(stream.device().kind);
    require(options.chunk_rows > 0 && options.chunk_rows % kRowMultiple == 0, "HeadTrainer",
            "chunk_rows is no multiple of 64");
  }

  size_t parameters_per_head() const { return parameters.size() / heads.heads.size(); }
  void prepare_pass();
  void prepare_training();
  HeadGradients gradients_of(size_t k, bool several_chunks);
  void keep_gradients(size_t k, bool several_chunks);
  View own_bias(View bias) const;
  void count_targets(const std::vector<HeadRows>& rows_of, std::vector<HeadMetrics>& metrics) const;
  void train_head(size_t k, const StateRows& rows, const HeadRows& mine, float row_scale);
  void exchange_gradients(size_t k);
  void update();
  void measure_gradients();
  void read_report(StepResult& result);
  void set_adam_steps(int64_t t);
};

void HeadTrainer::Impl::prepare_pass() {
  if (pass) return;
  const int64_t rank = options.heads.linear == HeadLinear::lowrank ? options.heads.rank : 0;
  if (options.gradient_filter > 0 && stream.device().kind != DeviceKind::cpu) {
    fail(ExitCode::config, {"", "vocab_gradient_filter", "off on a GPU",
                            quote_value(std::to_string(options.gradient_filter)), "take the key out"});
  }
  pass.emplace(
      HeadPassShape{options.chunk_rows, heads.hidden(), heads.own_outputs(), options.heads.num_layers, type,
                    rank, heads.shard, static_cast<float>(options.gradient_filter)},
      stream.device(), ranks.device);
  chunk.emplace(options.chunk_rows, stream.device());
}

void HeadTrainer::Impl::prepare_training() {
  if (optimizer) return;
  const Device device = stream.device();
  gradients.emplace();
  std::vector<ParamGroup> groups;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const NamedParameter& p = parameters[i];
    gradients->kept.push_back(
        Tensor::zeros(type, p.view.shape, device,
                      {"a gradient", "lower medusa_num_heads, or set medusa_head_linear: lowrank"}));
    ParamGroup group;
    group.id = static_cast<uint32_t>(i);
    const UpdatedPart& part = exchange.part(i);
    group.global_offset = part.begin();
    group.logical_elements = part.elements;
    group.param = part.of(p.view);
    group.grad = part.of(gradients->kept.back().view());
    group.lr_multiplier = static_cast<float>(options.lr_multiplier[static_cast<size_t>(p.head)]);
    group.weight_decay = p.is_bias ? 0.0f : options.optimizer.weight_decay;
    groups.push_back(group);
  }
  if (type == DType::bf16) {
    for (const MedusaHead::ResBlock& block : heads.heads[0].blocks) {
      gradients->weight_sum.emplace_back(DType::f32, block.weight.shape(), device, kSums);
      gradients->bias_sum.emplace_back(DType::f32, Shape{block.weight.shape()[0]}, device, kSums);
    }
  }
  optimizer.emplace(options.optimizer, options.seed, std::move(groups), stream);
}

// What of a bias, or its gradient, belongs to this rank's ResBlock rows.
View HeadTrainer::Impl::own_bias(View bias) const {
  return heads.shard ? bias.rows(heads.shard->first_hidden(), heads.shard->end_hidden()) : bias;
}

// f32 gradients are summed where they are kept; bf16 ones elsewhere, but for what a single chunk writes once.
HeadGradients HeadTrainer::Impl::gradients_of(size_t k, bool several_chunks) {
  KeptGradients& g = *gradients;
  const size_t first = k * parameters_per_head(), layers = heads.heads[k].blocks.size();
  const bool narrow = type == DType::bf16;
  HeadGradients views;
  for (size_t l = 0; l < layers; ++l) {
    views.weight.push_back(narrow && several_chunks ? g.weight_sum[l].view() : g.kept[first + 2 * l].view());
    views.bias.push_back(narrow ? g.bias_sum[l].view() : own_bias(g.kept[first + 2 * l + 1].view()));
  }
  std::vector<View> last;  // of what follows the blocks
  for (size_t i = 2 * layers; i < parameters_per_head(); ++i) {
    Tensor& kept = g.kept[first + i];
    if (narrow && several_chunks && g.last_sum.size() <= last.size()) {
      g.last_sum.emplace_back(DType::f32, kept.shape(), kept.device(), kSums);
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
  KeptGradients& g = *gradients;
  const size_t first = k * parameters_per_head(), layers = heads.heads[k].blocks.size();
  for (size_t l = 0; l < layers; ++l) {
    if (several_chunks) convert(g.weight_sum[l].view(), g.kept[first + 2 * l].view(), stream);
    convert(g.bias_sum[l].view(), own_bias(g.kept[first + 2 * l + 1].view()), stream);
  }
  if (!several_chunks) return;
  for (size_t i = 2 * layers; i < parameters_per_head(); ++i) {
    convert(g.last_sum[i - 2 * layers].view(), g.kept[first + i].view(), stream);
  }
}

// N_k and the targets outside, of all ranks' rows.
void HeadTrainer::Impl::count_targets(const std::vector<HeadRows>& rows_of,
                                      std::vector<HeadMetrics>& metrics) const {
  std::vector<int64_t> counts;
  for (const HeadRows& rows : rows_of) counts.insert(counts.end(), {rows.count(), rows.outside});
  exchange.sum_counts(counts);
  for (size_t k = 0; k < rows_of.size(); ++k) {
    metrics[k].targets = counts[2 * k];
    metrics[k].outside = counts[2 * k + 1];
  }
}

void HeadTrainer::Impl::exchange_gradients(size_t k) {
  for (size_t i = k * parameters_per_head(); i < (k + 1) * parameters_per_head(); ++i) {
    exchange.start(i, gradients->kept[i].view());
  }
}

void HeadTrainer::Impl::train_head(size_t k, const StateRows& rows, const HeadRows& mine, float row_scale) {
  LossSums* sums = report.losses() + k;
  if (mine.count() == 0) {  // no loss, hence no gradient
    for (size_t i = 0; i < parameters_per_head(); ++i) {
      zero(gradients->kept[k * parameters_per_head() + i].view(), stream);
    }
    zero({reinterpret_cast<std::byte*>(sums), DType::u8, {sizeof(LossSums)}, stream.device(), 0}, stream);
    return;
  }
  const std::vector<Chunk> chunks = chunks_of(mine, options.chunk_rows, row_scale);
  const HeadGradients to = gradients_of(k, chunks.size() > 1);
  Write write = Write::overwrite;
  for (const Chunk& on_host : chunks) {
    stream.stop_point();
    chunk->set(on_host, stream);
    const auto work = [&] {
      pass->forward(heads.heads[k], rows.hidden.view(), chunk->row(), chunk->label(), stream);
      stream.stop_point();
      pass->backward(heads.heads[k], chunk->label(), chunk->scale(), to, write, stream);
      pass->add_sums(chunk->label(), write, sums, stream);
    };
    repeated.run({kChunkWork, static_cast<int64_t>(k), on_host.padded(), key_of(rows.hidden.data()),
                  rows.hidden.shape()[0], chunks.size() > 1, write == Write::accumulate},
                 work, stream);
    write = Write::accumulate;
  }
  keep_gradients(k, chunks.size() > 1);
}

void HeadTrainer::Impl::measure_gradients() {
  const ProfileScope scope(stream, "gradient norm");
  const auto norms = [&] {
    for (int64_t i = 0; i < std::ssize(parameters); ++i) {
      const auto at = static_cast<size_t>(i);
      square_sum(exchange.part(at).of(gradients->kept[at].view()), report.squares().rows(i, i + 1), stream);
    }
  };
  repeated.run({kNormWork}, norms, stream);
  exchange.sum_squares(report.squares());
}

void HeadTrainer::Impl::update() {
  const ProfileScope scope(stream, "AdamW");
  repeated.run(
      {kUpdateWork}, [&] { optimizer->step(&report.state()->scalars, stream); }, stream);
  exchange.updated();
}

// Losses, global norm, and the first head with a loss or gradient that is not finite.
void HeadTrainer::Impl::read_report(StepResult& result) {
  const StepReport::OnHost host = report.receive();
  for (size_t k = 0; k < result.heads.size(); ++k) add_sums(host.losses[k], result.heads[k]);
  double total = 0;
  for (size_t i = 0; i < parameters.size(); ++i) {
    total += static_cast<double>(host.squares[i]);
    const size_t k = i / parameters_per_head();
    const bool finite = std::isfinite(host.squares[i]) && std::isfinite(result.heads[k].cross_entropy);
    if (!finite && result.skipped_head < 0) result.skipped_head = static_cast<int>(k);
  }
  result.grad_norm = std::sqrt(total);
  result.skipped = host.state->scalars.skip != 0;
  adam_steps = host.state->taken;
}

void HeadTrainer::Impl::set_adam_steps(int64_t t) {
  StepState state;
  state.taken = static_cast<int32_t>(t);
  const View on_device{
      reinterpret_cast<std::byte*>(report.state()), DType::u8, {sizeof state}, stream.device(), 0};
  upload(&state, on_device, stream);
  adam_steps = t;
}

HeadTrainer::HeadTrainer(const HeadTrainerOptions& options, const WeightMatrix& lm_head, DType type,
                         const Stream& stream, const HeadRanks& ranks)
    : impl_(std::make_unique<Impl>(options, lm_head, type, stream, ranks)) {}

HeadTrainer::~HeadTrainer() = default;

void HeadTrainer::begin(const StateRows& rows, int64_t s) {
  Impl& t = *impl_;
  require(t.begun.size() < StepReport::kOpen, "HeadTrainer", "too many steps are begun");
  t.prepare_pass();
  t.prepare_training();
  t.exchange.finish_weights();
  const int num_heads = t.options.heads.num_heads;
  const std::vector<HeadRows> rows_of = rows_of_heads(rows, t.heads);
  Impl::Begun begun;
  StepResult& result = begun.result;
  std::vector<double>& weights = begun.weights;
  result.heads.resize(static_cast<size_t>(num_heads));
  t.count_targets(rows_of, result.heads);
  for (size_t k = 0; k < rows_of.size(); ++k) {
    weights.push_back(head_weight(t.options.loss, static_cast<int>(k), s, t.options.max_steps));
    const auto n = static_cast<double>(std::max<int64_t>(result.heads[k].targets, 1));
    t.train_head(k, rows, rows_of[k], static_cast<float>(weights[k] / n));
    t.exchange_gradients(k);
  }
  t.exchange.finish(t.report.losses(), num_heads);
  t.measure_gradients();
  result.lr = learning_rate(t.options.lr, s, t.options.max_steps);
  prepare_step(t.report.squares(), t.report.losses(), num_heads, static_cast<float>(result.lr),
               static_cast<double>(t.options.optimizer.max_grad_norm), t.report.state(), t.stream);
  t.report.send(t.stream);
  t.update();
  t.begun.push_back(std::move(begun));
}

StepResult HeadTrainer::finish() {
  Impl& t = *impl_;
  require(!t.begun.empty(), "HeadTrainer", "no step is begun");
  const Impl::Begun begun = std::move(t.begun.front());
  t.begun.pop_front();
  StepResult result = begun.result;
  t.read_report(result);
  for (size_t k = 0; k < result.heads.size(); ++k) {
    const HeadMetrics& metrics = result.heads[k];
    if (metrics.targets > 0) {
      result.loss += begun.weights[k] * metrics.cross_entropy / static_cast<double>(metrics.targets);
    }
  }
  return result;
}

void HeadTrainer::start_weights() {
  impl_->exchange.start_weights();
}

void HeadTrainer::finish_weights() {
  impl_->exchange.finish_weights();
}

void HeadTrainer::evaluate(const StateRows& rows, std::vector<HeadMetrics>& sums) {
  Impl& t = *impl_;
  require(t.exchange.has_weights(), "HeadTrainer", "weights of other ranks are still to come");
  require(t.begun.empty(), "HeadTrainer", "a step is not finished");
  t.prepare_pass();
  const std::vector<HeadRows> rows_of = rows_of_heads(rows, t.heads);
  sums.resize(rows_of.size());
  for (size_t k = 0; k < rows_of.size(); ++k) {
    sums[k].outside += rows_of[k].outside;
    Write write = Write::overwrite;
    for (const Chunk& on_host : chunks_of(rows_of[k], t.options.chunk_rows, 0.0f)) {
      t.stream.stop_point();
      t.chunk->set(on_host, t.stream);
      t.pass->forward(t.heads.heads[k], rows.hidden.view(), t.chunk->row(), t.chunk->label(), t.stream);
      t.pass->count_hits(t.chunk->label(), t.stream);
      t.pass->add_sums(t.chunk->label(), write, t.report.losses() + k, t.stream);
      write = Write::accumulate;
    }
  }
  t.report.send(t.stream);
  const StepReport::OnHost host = t.report.receive();
  for (size_t k = 0; k < rows_of.size(); ++k) {
    if (rows_of[k].count() == 0) continue;
    add_sums(host.losses[k], sums[k]);
    sums[k].targets += rows_of[k].count();
  }
}

MedusaHeads& HeadTrainer::heads() {
  require(impl_->exchange.has_weights(), "HeadTrainer", "weights of other ranks are still to come");
  return impl_->heads;
}

const HeadRanks& HeadTrainer::ranks() const {
  return impl_->ranks;
}

int64_t HeadTrainer::adam_steps() const {
  return impl_->adam_steps;
}

void HeadTrainer::set_adam_steps(int64_t t) {
  impl_->set_adam_steps(t);
}

std::vector<NamedState> HeadTrainer::optimizer_state() {
  impl_->prepare_training();
  return optimizer_states(*impl_->optimizer, impl_->parameters, impl_->exchange);
}

}  // namespace gorgon
