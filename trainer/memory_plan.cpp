#include "trainer/memory_plan.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "kernels/host_memory.h"
#include "kernels/quantise.h"
#include "kernels/workspace.h"
#include "model/backbone.h"
#include "model/head_pass.h"
#include "optim/adamw.h"
#include "optim/gradient_clipping.h"

namespace gorgon {

namespace {

// Tokens that heads know: those of the data are not counted yet, all of them at most.
int64_t outputs(const RunConfig& config, const ModelConfig& model) {
  const int64_t wanted = config.heads.vocabulary;
  return wanted > 0 ? std::min(wanted, model.vocab_size) : model.vocab_size;
}

// Where heads are divided: rank 0's part, which is as large as any.
std::optional<HeadShard> shard_of(const RunConfig& config, const ModelConfig& model,
                                  const PlannedRanks& ranks) {
  if (!ranks.divided || ranks.size == 1) return std::nullopt;
  return shard_heads(config.heads, outputs(config, model), model.hidden_size, kStateBlock, 0, ranks.size);
}

// Elements of each trained tensor of one head, or of one rank's part of it.
std::vector<int64_t> trained_tensors(const RunConfig& config, const ModelConfig& model,
                                     const std::optional<HeadShard>& shard) {
  const int64_t hidden = model.hidden_size;
  std::vector<int64_t> elements;
  for (int l = 0; l < config.heads.num_layers; ++l) {
    elements.push_back((shard ? shard->end_hidden() : hidden) * hidden);
    elements.push_back(hidden);
  }
  const int64_t tokens = shard ? shard->end_output() : outputs(config, model);
  if (config.heads.linear == HeadLinear::own) elements.push_back(tokens * hidden);
  if (config.heads.linear == HeadLinear::lowrank) {
    elements.push_back(config.heads.rank * hidden);
    elements.push_back(tokens * config.heads.rank);
  }
  return elements;
}

int64_t weight_bytes(const RunConfig& config, const ModelConfig& model,
                     const std::optional<HeadShard>& shard = std::nullopt) {
  const std::vector<int64_t> trained = trained_tensors(config, model, shard);
  return bytes_of(config.compute(),
                  config.heads.num_heads * std::accumulate(trained.begin(), trained.end(), int64_t{0}));
}

// Of the part of a tensor of `whole` elements.
int64_t state_bytes(const RunConfig& config, int64_t elements, int64_t whole) {
  const int64_t blocks = (elements + kStateBlock - 1) / kStateBlock;
  const bool eight_bit = config.optimizer.eight_bit && whole >= kMinEightBitElements;
  const bool master = config.optimizer.f32_master_weights && config.bf16;
  return (eight_bit ? 2 * elements + 8 * blocks : 8 * elements) + (master ? 4 * elements : 0);
}

// Optimizer states of one rank: of what it holds of divided heads, or of its part of whole ones (the
// largest).
int64_t states_of_heads(const RunConfig& config, const ModelConfig& model, int ranks,
                        const std::optional<HeadShard>& shard = std::nullopt) {
  const std::vector<int64_t> whole = trained_tensors(config, model, std::nullopt),
                             held = trained_tensors(config, model, shard);
  int64_t sum = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    const int64_t blocks = (held[i] + kStateBlock - 1) / kStateBlock;
    const int64_t largest = std::min(held[i], (blocks + ranks - 1) / ranks * kStateBlock);
    sum += state_bytes(config, shard ? held[i] : largest, whole[i]);
  }
  return sum * config.heads.num_heads;
}

// Elements of a layer's matrices.
int64_t layer_elements(const ModelConfig& m) {
  const int64_t q = m.num_attention_heads * m.head_dim, kv = m.num_key_value_heads * m.head_dim;
  return (q + 2 * kv) * m.hidden_size + m.hidden_size * q + 3 * m.hidden_size * m.intermediate_size;
}

int64_t backbone_bytes(const RunConfig& config, const ModelConfig& m) {
  const DType stored =
      config.quantisation() == Quantisation::none ? config.compute() : stored_type(config.quantisation());
  const int64_t widths = (m.num_attention_heads + 2 * m.num_key_value_heads) * m.head_dim;
  const int64_t scales =
      stored == DType::e4m3 ? widths + 2 * m.hidden_size + 2 * m.intermediate_size : 0;  // of a layer's rows
  const int64_t norms = (2 * m.num_hidden_layers + 1) * m.hidden_size;
  const int64_t tables = (m.tie_word_embeddings ? 1 : 2) * m.vocab_size * m.hidden_size;
  const int64_t rotary = m.max_position_embeddings * m.head_dim;
  return m.num_hidden_layers * bytes_of(stored, layer_elements(m)) + bytes_of(config.compute(), tables) +
         bytes_of(DType::f32, m.num_hidden_layers * scales + norms + rotary);
}

// f32 sums of the head at work, where its gradients are bf16.
int64_t gradient_sum_bytes(const RunConfig& config, const ModelConfig& m, bool several_chunks,
                           const std::optional<HeadShard>& shard) {
  if (!config.bf16) return 0;
  const int64_t hidden = m.hidden_size, own_hidden = shard ? shard->end_hidden() : hidden;
  const int64_t blocks = config.heads.num_layers * (own_hidden * hidden + own_hidden);
  int64_t all = 0;
  for (const int64_t elements : trained_tensors(config, m, shard)) all += elements;
  return bytes_of(DType::f32, several_chunks ? all : blocks);
}

// Tokens that an evaluation takes at a time.
int64_t evaluated_tokens(const RunConfig& config) {
  return config.eval_dataset_path.empty() ? 0 : config.per_device_eval_batch_size * config.max_seq_length;
}

int64_t rows_per_step(const RunConfig& config) {
  return config.global_batch() * config.max_seq_length;
}

constexpr int64_t kCublasLtBytes = int64_t{32} << 20;  // of each stream

// What the backbone borrows for so many tokens.
int64_t backbone_memory(const RunConfig& config, const ModelConfig& model, DeviceKind device,
                        int64_t tokens) {
  const DType type = config.compute();
  const DType stored =
      config.quantisation() == Quantisation::none ? type : stored_type(config.quantisation());
  return Backbone::workspace_bytes(model, type, stored, tokens, device) +
         Arena::padded(bytes_of(type, tokens * model.hidden_size)) +
         Arena::padded(bytes_of(DType::i32, tokens));
}

int64_t tokens_of_micro_batch(const RunConfig& config, int64_t micro_batch) {
  return std::min(micro_batch, config.global_batch()) * config.max_seq_length;
}

}  // namespace

int64_t working_memory_of_steps(const RunConfig& config, const ModelConfig& model, DeviceKind device,
                                int64_t micro_batch) {
  return backbone_memory(config, model, device, tokens_of_micro_batch(config, micro_batch));
}

// The caller's stream runs the backbone of evaluations alone where that of steps has its own.
int64_t working_memory(const RunConfig& config, const ModelConfig& model, DeviceKind device,
                       int64_t micro_batch) {
  const int64_t of_steps = overlaps(config, device) ? 0 : tokens_of_micro_batch(config, micro_batch);
  const int64_t tokens = std::max(of_steps, evaluated_tokens(config));
  return tokens == 0 ? 0 : backbone_memory(config, model, device, tokens);
}

bool overlaps(const RunConfig& config, DeviceKind device) {
  return config.overlap_backbone && device == DeviceKind::cuda;
}

int64_t plan_overlap_memory(const RunConfig& config, const ModelConfig& model, DeviceKind device,
                            int64_t micro_batch) {
  if (!overlaps(config, device)) return 0;
  return bytes_of(config.compute(), rows_per_step(config) * model.hidden_size) + kCublasLtBytes +
         working_memory_of_steps(config, model, device, micro_batch);
}

int64_t MemoryPlan::total() const {
  int64_t sum = 0;
  for (const PlannedBuffer& buffer : buffers) sum += buffer.bytes;
  return sum;
}

MemoryPlan plan_memory(const RunConfig& config, const ModelConfig& model, DeviceKind device,
                       int64_t micro_batch, const PlannedRanks& ranks) {
  const DType type = config.compute();
  const std::optional<HeadShard> shard = shard_of(config, model, ranks);
  // Of divided heads every rank has the states of all.
  const int64_t rows = shard ? rows_per_step(config) : (rows_per_step(config) + ranks.size - 1) / ranks.size;
  const int64_t chunk_rows = default_chunk_rows(device);
  const int64_t own_outputs = shard ? shard->end_output() : outputs(config, model);
  const int64_t rank = config.heads.linear == HeadLinear::lowrank ? config.heads.rank : 0;
  const HeadPassShape pass{chunk_rows,  model.hidden_size,
                           own_outputs, config.heads.num_layers,
                           type,        rank,
                           shard,       static_cast<float>(config.vocab_gradient_filter)};
  const bool own_rows = config.heads.linear != HeadLinear::own && outputs(config, model) < model.vocab_size;
  const std::vector<int64_t> trained = trained_tensors(config, model, shard);
  const int64_t largest = *std::max_element(trained.begin(), trained.end());
  MemoryPlan plan;
  plan.buffers = {
      {"backbone", backbone_bytes(config, model)},
      {"heads", weight_bytes(config, model, shard)},
      {"frozen rows of lm_head", own_rows ? bytes_of(type, own_outputs * model.hidden_size) : 0},
      {"gradients", weight_bytes(config, model, shard)},
      {"gradient sums of the head at work", gradient_sum_bytes(config, model, rows > chunk_rows, shard)},
      {"optimizer states", states_of_heads(config, model, ranks.size, shard)},
      {"states of the step's rows", bytes_of(type, rows * model.hidden_size)},
      {"states of an evaluation's rows", bytes_of(type, evaluated_tokens(config) * model.hidden_size)},
      {"a chunk of rows of a head, logits included", HeadPass::workspace_bytes(pass) + 12 * chunk_rows},
      {"working memory of the backbone", working_memory(config, model, device, micro_batch)},
      {"the next step's backbone beside the heads", plan_overlap_memory(config, model, device, micro_batch)},
      {"pieces of the gradient norm", (largest + kNormPiece - 1) / kNormPiece * 8},
  };
  if (device == DeviceKind::cuda) plan.buffers.push_back({"working memory of cuBLASLt", kCublasLtBytes});
  std::erase_if(plan.buffers, [](const PlannedBuffer& buffer) { return buffer.bytes == 0; });
  std::stable_sort(plan.buffers.begin(), plan.buffers.end(),
                   [](const PlannedBuffer& a, const PlannedBuffer& b) { return a.bytes > b.bytes; });
  return plan;
}

int64_t plan_heads_memory(const RunConfig& config, const ModelConfig& model, int64_t outputs, int ranks) {
  RunConfig known = config;
  known.heads.vocabulary = outputs == model.vocab_size ? kFullVocabulary : outputs;
  return 2 * weight_bytes(known, model) + states_of_heads(known, model, ranks);
}

std::optional<int64_t> free_bytes(Device device) {
  if (device.kind == DeviceKind::cuda) return cuda::memory_state(device.index).free;
  return free_host_bytes();
}

DiskPlan plan_disk(const RunConfig& config, const ModelConfig& model) {
  const int64_t heads = weight_bytes(config, model);
  const int64_t checkpoint = heads + states_of_heads(config, model, 1);
  const bool saves = config.save_strategy != Strategy::no;
  // The limit, the best one beside it, the one being written; and the finished heads.
  return {checkpoint, (saves ? (config.save_total_limit + 2) * checkpoint : 0) + heads};
}

WorkPlan plan_work(const RunConfig& config, const ModelConfig& m) {
  const auto multiply = [](int64_t elements) { return 2.0 * static_cast<double>(elements); };
  // Half of the sequence is seen on average: q k^T and the mix of the values.
  const int64_t seen = std::min(m.sliding_window.value_or(config.max_seq_length), config.max_seq_length) / 2;
  const int64_t attention = 2 * seen * m.num_attention_heads * m.head_dim;
  WorkPlan work;
  work.backbone_flop_per_token =
      static_cast<double>(m.num_hidden_layers) * (multiply(layer_elements(m)) + multiply(attention));
  // The first ResBlock's input needs no gradient: two products instead of three.
  const int64_t blocks = (3 * config.heads.num_layers - 1) * m.hidden_size * m.hidden_size;
  // A frozen Linear needs no gradient of its weights.
  const int products = config.heads.linear == HeadLinear::own ? 3 : 2;
  work.heads_flop_per_row =
      config.heads.num_heads * (multiply(blocks) + products * multiply(outputs(config, m) * m.hidden_size));
  return work;
}

}  // namespace gorgon
