#include "model/medusa_heads.h"

#include <cmath>
#include <utility>

#include "kernels/dequantise.h"
#include "kernels/error.h"
#include "kernels/philox.h"

namespace gorgon {

namespace {

constexpr const char* kRemedy = "lower medusa_num_heads, or set medusa_head_linear: lowrank";

// A head's outputs [begin, end): the rows of lm_head that `ids` name, or all of them where it is empty.
struct Rows {
  const std::vector<int32_t>& ids;
  int64_t begin, end;
};

Tensor rows_of(const WeightMatrix& lm_head, const Rows& wanted, DType type, const Purpose& purpose,
               const Stream& stream) {
  const auto& [ids, first_row, end_row] = wanted;
  Tensor kept(type, {end_row - first_row, lm_head.columns}, stream.device(), purpose);
  if (ids.empty()) {
    if (!kept.empty()) dequantise(lm_head, first_row, kept.view(), stream);
    return kept;
  }
  for (int64_t begin = first_row, end = 0; begin < end_row; begin = end) {  // runs of ids
    const int32_t first = ids[static_cast<size_t>(begin)];
    for (end = begin + 1; end < end_row && ids[static_cast<size_t>(end)] == first + (end - begin);) ++end;
    dequantise(lm_head, first, kept.view().rows(begin - first_row, end - first_row), stream);
  }
  return kept;
}

WeightMatrix frozen_rows(const WeightMatrix& lm_head, const Rows& wanted, DType type, const Stream& stream) {
  const bool is_whole = wanted.ids.empty() && wanted.end - wanted.begin == lm_head.rows;
  if (is_whole && lm_head.type == type) return lm_head;
  auto kept = std::make_shared<Tensor>(rows_of(lm_head, wanted, type, {"rows of lm_head", kRemedy}, stream));
  const int64_t rows = kept->shape()[0];
  return {type, rows, lm_head.columns, std::move(kept)};
}

// Uniform in +-1/sqrt(H). Step 2^32 - 1 of head k in the counter: no step of stochastic rounding uses it.
Tensor random_a(int64_t rank, int64_t hidden, size_t k, DType type, uint64_t seed, const Stream& stream) {
  const float bound = 1.0f / std::sqrt(static_cast<float>(hidden));
  std::vector<float> values(static_cast<size_t>(rank * hidden));
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = philox(seed, i, static_cast<uint64_t>(k) << 32 | 0xffffffffu)[0];
    values[i] = bound * (static_cast<float>(bits >> 8) * 0x1p-23f - 1.0f);
  }
  const Tensor wide = Tensor::of(values, {rank, hidden}, stream.device());
  Tensor a(type, {rank, hidden}, stream.device());
  dequantise(wide.view(), a.view(), stream);
  return a;
}

}  // namespace

MedusaHeads MedusaHeads::initialise(const MedusaOptions& options, const WeightMatrix& lm_head,
                                    std::vector<int32_t> vocab_ids, DType type, uint64_t seed,
                                    const Stream& stream, std::optional<HeadShard> shard) {
  require(type == DType::f32 || type == DType::bf16, "MedusaHeads", "heads are f32 or bf16");
  require(options.num_heads > 0 && options.num_layers > 0, "MedusaHeads", "no heads or no layers");
  require(vocab_ids.empty() || vocab_ids.back() < lm_head.rows, "MedusaHeads", "an id outside lm_head");
  const int64_t hidden = lm_head.columns;
  const int64_t outputs = vocab_ids.empty() ? lm_head.rows : std::ssize(vocab_ids);
  const Rows rows{vocab_ids, shard ? shard->first_output() : 0, shard ? shard->end_output() : outputs};
  const int64_t block_rows = shard ? shard->end_hidden() - shard->first_hidden() : hidden;
  const Device device = stream.device();
  const Purpose purpose{"a head's weights", kRemedy};
  MedusaHeads all;
  all.options = options;
  WeightMatrix frozen;
  if (options.linear != HeadLinear::own) frozen = frozen_rows(lm_head, rows, type, stream);
  for (int k = 0; k < options.num_heads; ++k) {
    MedusaHead head;
    for (int l = 0; l < options.num_layers; ++l) {
      head.blocks.push_back({Tensor::zeros(type, {block_rows, hidden}, device, purpose),
                             Tensor::zeros(type, {hidden}, device)});
    }
    head.frozen = frozen;
    if (options.linear == HeadLinear::own) head.linear = rows_of(lm_head, rows, type, purpose, stream);
    if (options.linear == HeadLinear::lowrank) {
      require(options.rank > 0, "MedusaHeads", "a rank below 1");
      head.a = random_a(options.rank, hidden, static_cast<size_t>(k), type, seed, stream);
      head.b = Tensor::zeros(type, {rows.end - rows.begin, options.rank}, device, purpose);
    }
    all.heads.push_back(std::move(head));
  }
  all.vocab_ids = std::move(vocab_ids);
  all.shard = std::move(shard);
  return all;
}

int64_t MedusaHeads::own_outputs() const {
  const MedusaHead& head = heads[0];
  return options.linear == HeadLinear::own ? head.linear.shape()[0] : head.frozen.rows;
}

int64_t MedusaHeads::outputs() const {
  return shard ? shard->outputs.back() : own_outputs();
}

std::vector<NamedParameter> parameters(MedusaHeads& heads) {
  std::vector<NamedParameter> all;
  const auto& shard = heads.shard;
  const std::vector<int64_t> whole, outputs = shard ? shard->outputs : whole,
                                    hidden = shard ? shard->hidden : whole;
  for (size_t k = 0; k < heads.heads.size(); ++k) {
    MedusaHead& head = heads.heads[k];
    const std::string prefix = std::to_string(k) + ".";
    const int index = static_cast<int>(k);
    for (size_t l = 0; l < head.blocks.size(); ++l) {
      const std::string block = prefix + std::to_string(l) + ".linear.";
      all.push_back({block + "weight", index, false, head.blocks[l].weight.view(), hidden});
      all.push_back({block + "bias", index, true, head.blocks[l].bias.view(), whole});
    }
    const std::string last = prefix + std::to_string(head.blocks.size()) + ".";
    const HeadLinear linear = heads.options.linear;
    if (linear == HeadLinear::own)
      all.push_back({last + "weight", index, false, head.linear.view(), outputs});
    if (linear != HeadLinear::lowrank) continue;
    all.push_back({last + "A", index, false, head.a.view(), whole});
    all.push_back({last + "B", index, false, head.b.view(), outputs});
  }
  return all;
}

}  // namespace gorgon
