#include "model/draft_heads.h"

#include <algorithm>
#include <memory>

#include "data/safetensors.h"
#include "kernels/block_panels.h"
#include "kernels/dequantise.h"
#include "kernels/error.h"
#include "kernels/gemm.h"
#include "kernels/resblock.h"

namespace gorgon {

// Reads one file into DraftHeads.
class DraftHeadsReader {
 public:
  DraftHeadsReader(const std::filesystem::path& path, const WeightMatrix& lm_head, DType compute,
                   const Stream& stream, HeadStorage storage)
      : path_(path.string()),
        file_(path, ExitCode::checkpoint),
        found_(parse_safetensors(file_.bytes(), path_, ExitCode::checkpoint)),
        lm_head_(lm_head),
        stream_(stream),
        storage_(stream.device().kind == DeviceKind::cpu ? storage : HeadStorage::full) {
    heads_.compute_ = compute;
    heads_.vocabulary_ = lm_head.rows;
  }

  DraftHeads read() {
    heads_.metadata_ = found_.metadata;
    read_vocabulary();
    for (int k = 0; has(k, "0.linear.weight"); ++k) heads_.heads_.push_back(read_head(k));
    if (heads_.heads_.empty()) refuse("0.0.linear.weight", "the first head's ResBlock", "no such tensor");
    if (used_ != found_.tensors.size()) {
      refuse("", std::to_string(used_) + " tensors of " + std::to_string(heads_.count()) + " heads",
             std::to_string(found_.tensors.size()));
    }
    return std::move(heads_);
  }

 private:
  [[noreturn]] void refuse(const std::string& key, const std::string& expected,
                           const std::string& found) const {
    fail(ExitCode::checkpoint, {path_, key, expected, found, "were these heads trained for this model?"});
  }

  static std::string name_of(int k, const std::string& rest) { return std::to_string(k) + "." + rest; }
  bool has(int k, const std::string& rest) const { return found_.tensors.contains(name_of(k, rest)); }

  // A matrix or vector of the file as compute's type; -1 in `shape` fits anything.
  WeightMatrix matrix(const std::string& key, std::vector<int64_t> shape) {
    const auto entry = found_.tensors.find(key);
    if (entry == found_.tensors.end()) refuse(key, describe(shape), "no such tensor");
    const TensorEntry& tensor = entry->second;
    bool fits = tensor.shape.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] < 0 || shape[i] == tensor.shape[i];
    const bool is_float =
        tensor.type == DType::f32 || tensor.type == DType::bf16 || tensor.type == DType::f16;
    if (!fits || !is_float)
      refuse(key, describe(shape), std::string(name(tensor.type)) + " " + describe(tensor.shape));
    ++used_;
    const int64_t rows = tensor.shape[0], columns = tensor.shape.size() > 1 ? tensor.shape[1] : 1;
    Tensor values(heads_.compute_, {rows, columns});
    dequantise(BasicView<const std::byte>{tensor.bytes.data(), tensor.type, {rows, columns}, Device{}, 0},
               values.view(), host_);
    if (storage_ == HeadStorage::q8_0 && shape.size() == 2 && columns % 32 == 0) {
      return quantise_to_panels(values.view(), stream_);
    }
    auto storage = std::make_shared<const Tensor>(values.to(stream_.device()));
    return {heads_.compute_, rows, columns, std::move(storage)};
  }

  static std::string describe(const std::vector<int64_t>& shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i) {
      text += (i == 0 ? "" : ", ") + (shape[i] < 0 ? std::string("r") : std::to_string(shape[i]));
    }
    return text + "]";
  }

  void read_vocabulary() {
    const auto entry = found_.tensors.find("vocab_ids");
    if (entry == found_.tensors.end()) return;
    const TensorEntry& tensor = entry->second;
    if (tensor.type != DType::i32 || tensor.shape.size() != 1 || tensor.shape[0] == 0) {
      refuse("vocab_ids", "i32 ids", std::string(name(tensor.type)) + " " + describe(tensor.shape));
    }
    heads_.vocab_ids_.resize(static_cast<size_t>(tensor.shape[0]));
    std::copy_n(tensor.bytes.data(), tensor.bytes.size(),
                reinterpret_cast<std::byte*>(heads_.vocab_ids_.data()));
    int64_t previous = -1;
    for (const int32_t id : heads_.vocab_ids_) {
      if (id <= previous || id >= heads_.vocabulary_) {
        refuse("vocab_ids", "ascending ids below " + std::to_string(heads_.vocabulary_), std::to_string(id));
      }
      previous = id;
    }
    ++used_;
  }

  // The backbone's lm_head, or those of its rows that the heads know.
  WeightMatrix frozen_linear() {
    if (heads_.vocab_ids_.empty()) return lm_head_;
    if (!kept_rows_.empty()) return kept_rows_;
    const auto rows = std::ssize(heads_.vocab_ids_);
    Tensor kept(heads_.compute_, {rows, lm_head_.columns}, stream_.device());
    for (int64_t i = 0; i < rows; ++i) {
      dequantise(lm_head_, heads_.vocab_ids_[static_cast<size_t>(i)], kept.view().rows(i, i + 1), stream_);
    }
    kept_rows_ = {heads_.compute_, rows, lm_head_.columns, std::make_shared<const Tensor>(std::move(kept))};
    return kept_rows_;
  }

  DraftHeads::Head read_head(int k) {
    const int64_t hidden = lm_head_.columns, outputs = heads_.outputs();
    DraftHeads::Head head;
    int layer = 0;
    for (; has(k, std::to_string(layer) + ".linear.weight"); ++layer) {
      const std::string prefix = name_of(k, std::to_string(layer) + ".linear.");
      WeightMatrix weight = matrix(prefix + "weight", {hidden, hidden});
      const WeightMatrix bias = matrix(prefix + "bias", {hidden});
      Tensor values(heads_.compute_, {hidden}, stream_.device());
      copy_bytes(stream_.device(), values.data(), stream_.device(), bias.storage->data(), values.bytes());
      head.blocks.push_back({std::move(weight), std::move(values)});
    }
    const std::string last = name_of(k, std::to_string(layer) + ".");
    const bool low_rank = found_.tensors.contains(last + "A") || found_.tensors.contains(last + "B");
    if (low_rank) {
      head.a = matrix(last + "A", {-1, hidden});
      head.b = matrix(last + "B", {outputs, head.a.rows});
    }
    const bool own = found_.tensors.contains(last + "weight");
    head.linear = own ? matrix(last + "weight", {outputs, hidden}) : frozen_linear();
    return head;
  }

  std::string path_;
  MappedFile file_;
  Safetensors found_;
  const WeightMatrix& lm_head_;
  const Stream& stream_;
  HeadStorage storage_;
  const Stream host_{Device{}, 1};
  DraftHeads heads_;
  WeightMatrix kept_rows_;
  size_t used_ = 0;  // tensors read
};

DraftHeads DraftHeads::load(const std::filesystem::path& file, const WeightMatrix& lm_head, DType compute,
                            const Stream& stream, HeadStorage storage) {
  return DraftHeadsReader(file, lm_head, compute, stream, storage).read();
}

void DraftHeads::features(const Head& head, ConstView states, View out, const Stream& stream) const {
  Tensor u(DType::f32, states.shape, stream.device()), x, y;
  ConstView input = states;
  for (size_t l = 0; l < head.blocks.size(); ++l) {
    const Block& block = head.blocks[l];
    const bool last = l + 1 == head.blocks.size();
    if (!last) y = Tensor(compute_, states.shape, stream.device());
    const View result = last ? out : y.view();
    linear(input, block.weight, u.view(), Write::overwrite, stream);
    resblock_forward(u.view(), block.bias.view(), input, result, stream);
    x = std::move(y);
    input = x.view();
  }
}

void DraftHeads::add_low_rank(const Head& head, ConstView features, View out, const Stream& stream) const {
  if (head.a.empty()) return;
  Tensor inner(compute_, {features.rows(), head.a.rows}, stream.device());
  linear(features, head.a, inner.view(), Write::overwrite, stream);
  linear(inner.view(), head.b, out, Write::accumulate, stream);
}

DraftHeads DraftHeads::of(const MedusaHeads& heads, int64_t vocabulary) {
  const auto lent = [](const Tensor& tensor) {
    return WeightMatrix{tensor.type(), tensor.shape()[0], tensor.shape()[1],
                        std::shared_ptr<const Tensor>(std::shared_ptr<void>(), &tensor)};
  };
  DraftHeads draft;
  draft.compute_ = heads.heads.at(0).blocks.at(0).weight.type();
  draft.vocabulary_ = vocabulary;
  draft.vocab_ids_ = heads.vocab_ids;
  for (const MedusaHead& head : heads.heads) {
    Head& to = draft.heads_.emplace_back();
    for (const MedusaHead::ResBlock& block : head.blocks) {
      to.blocks.push_back({lent(block.weight), block.bias.to(block.bias.device())});
    }
    to.linear = head.linear.empty() ? head.frozen : lent(head.linear);
    if (head.a.empty()) continue;
    to.a = lent(head.a);
    to.b = lent(head.b);
  }
  return draft;
}

void DraftHeads::logits(int k, ConstView states, View out, const Stream& stream) const {
  const Head& head = heads_[static_cast<size_t>(k)];
  Tensor x(compute_, states.shape, stream.device());
  features(head, states, x.view(), stream);
  linear(x.view(), head.linear, out, Write::overwrite, stream);
  add_low_rank(head, x.view(), out, stream);
}

void DraftHeads::first_logits(int count, ConstView states, View out, const Stream& stream) const {
  const int64_t n = states.rows();
  const auto last = heads_.begin() + count;
  const bool shared = std::all_of(heads_.begin(), last, [&](const Head& head) {
    return head.linear.storage == heads_[0].linear.storage;
  });
  Tensor x(compute_, {shared ? count * n : n, states.columns()}, stream.device());
  for (int k = 0; k < count; ++k) {
    const Head& head = heads_[static_cast<size_t>(k)];
    const View rows = shared ? x.view().rows(k * n, (k + 1) * n) : x.view();
    features(head, states, rows, stream);
    if (!shared) linear(rows, head.linear, out.rows(k * n, (k + 1) * n), Write::overwrite, stream);
    if (!shared) add_low_rank(head, rows, out.rows(k * n, (k + 1) * n), stream);
  }
  if (!shared) return;
  linear(x.view(), heads_[0].linear, out, Write::overwrite, stream);
  for (int k = 0; k < count; ++k) {
    add_low_rank(heads_[static_cast<size_t>(k)], x.view().rows(k * n, (k + 1) * n),
                 out.rows(k * n, (k + 1) * n), stream);
  }
}

namespace {

// f32 [rows, columns] of a matrix, on the host.
Tensor host_values(const WeightMatrix& matrix) {
  const Stream host(Device{}, 1);
  WeightMatrix on_host = matrix;
  on_host.storage = std::make_shared<const Tensor>(matrix.storage->to(Device{}));
  Tensor values(DType::f32, {matrix.rows, matrix.columns});
  dequantise(on_host, 0, values.view(), host);
  return values;
}

Tensor rounded(const Tensor& values, DType type) {
  const Stream host(Device{}, 1);
  Tensor out(type, values.shape());
  dequantise(values.view(), out.view(), host);
  return out;
}

}  // namespace

std::vector<DraftHeads::FullTensor> DraftHeads::full_tensors(int64_t vocabulary) const {
  std::vector<FullTensor> tensors;
  for (size_t k = 0; k < heads_.size(); ++k) {
    const Head& head = heads_[k];
    for (size_t l = 0; l < head.blocks.size(); ++l) {
      const std::string prefix = std::to_string(k) + "." + std::to_string(l) + ".linear.";
      require(!is_block_quantised(head.blocks[l].weight.type), "full_tensors",
              "heads as they are in their file");
      tensors.push_back({prefix + "weight", head.blocks[l].weight.storage->to(Device{})});
      tensors.push_back({prefix + "bias", head.blocks[l].bias.to(Device{})});
    }
    Tensor linear = host_values(head.linear);
    const int64_t hidden = head.linear.columns;
    if (!head.a.empty()) {
      const Tensor a = host_values(head.a), b = host_values(head.b);
      const Stream host(Device{}, 1);
      gemm(b.view(), a.view(), linear.view(), {.write = Write::accumulate}, host);
    }
    Tensor full = Tensor::zeros(DType::f32, {vocabulary, hidden});
    for (int64_t i = 0; i < outputs(); ++i) {
      std::copy_n(linear.as<float>() + i * hidden, hidden, full.as<float>() + token(i) * hidden);
    }
    tensors.push_back(
        {std::to_string(k) + "." + std::to_string(head.blocks.size()) + ".weight", rounded(full, compute_)});
  }
  return tensors;
}

int32_t DraftHeads::column(int32_t token) const {
  if (vocab_ids_.empty()) return token;
  const auto found = std::lower_bound(vocab_ids_.begin(), vocab_ids_.end(), token);
  return found == vocab_ids_.end() || *found != token ? -1 : static_cast<int32_t>(found - vocab_ids_.begin());
}

int32_t DraftHeads::rank(std::span<const float> logits, int32_t token) const {
  const int32_t at = column(token);
  if (at < 0) return static_cast<int32_t>(outputs());
  const auto own_column = static_cast<size_t>(at);
  const float own = logits[own_column];
  int32_t before = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    before += logits[i] > own || (logits[i] == own && i < own_column) ? 1 : 0;
  }
  return before;
}

std::vector<int32_t> top_indices(std::span<const float> values, int32_t count) {
  std::vector<int32_t> best;  // largest first
  const auto wanted = static_cast<size_t>(std::min<int64_t>(count, std::ssize(values)));
  if (wanted == 0) return best;
  for (size_t i = 0; i < values.size(); ++i) {
    if (best.size() == wanted && !(values[i] > values[static_cast<size_t>(best.back())])) continue;
    if (best.size() == wanted) best.pop_back();
    const auto place = std::find_if(best.begin(), best.end(), [&](int32_t other) {
      return values[i] > values[static_cast<size_t>(other)];
    });
    best.insert(place, static_cast<int32_t>(i));
  }
  return best;
}

}  // namespace gorgon
