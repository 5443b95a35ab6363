#include "model/model_weights.h"

#include <algorithm>
#include <utility>

#include "data/file.h"
#include "data/hub_name.h"
#include "kernels/block_panels.h"
#include "kernels/dequantise.h"
#include "kernels/fp8_linear.h"
#include "kernels/thread_pool.h"
#include "model/model_files.h"

namespace gorgon {

namespace {

constexpr int64_t kElementsPerJob = 1 << 18;

// Index of the first value that is not finite, or -1.
template <typename Bits>
int64_t first_not_finite(const void* data, int64_t count, Bits exponent) {
  const auto* values = static_cast<const Bits*>(data);
  bool bad = false;
  for (int64_t i = 0; i < count; ++i) bad |= (values[i] & exponent) == exponent;
  if (!bad) return -1;
  return std::find_if(values, values + count, [=](Bits v) { return (v & exponent) == exponent; }) - values;
}

// A tensor on its way into rows of a matrix.
struct Part {
  const ModelTensor* tensor;
  std::string name;
  int64_t rows;
  int64_t head_dim;  // > 0: rows come in GGUF's order of rotary pairs
};

// Row of Hugging Face's order for row r of GGUF's: pairs (2i, 2i + 1) of a head become (i, i + head_dim / 2).
int64_t rotary_row(int64_t r, int64_t head_dim) {
  const int64_t in_head = r % head_dim;
  return r - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

// Converts rows [begin, end) of a tensor into the matrix whose row 0 is at `out`; checks that they are
// finite.
void convert_rows(const Part& part, int64_t columns, int64_t begin, int64_t end, DType type, std::byte* out) {
  const TensorEntry& entry = part.tensor->entry;
  const auto source_row = static_cast<size_t>(bytes_of(entry.type, columns));
  const auto out_row = static_cast<size_t>(bytes_of(type, columns));
  const bool as_stored = is_block_quantised(type);  // copied; decoded only to be checked
  std::vector<float> decoded(as_stored ? static_cast<size_t>(columns) : 0);
  for (int64_t r = begin; r < end; ++r) {
    const int64_t to = part.head_dim > 0 ? rotary_row(r, part.head_dim) : r;
    std::byte* row = out + static_cast<size_t>(to) * out_row;
    const std::byte* source = entry.bytes.data() + static_cast<size_t>(r) * source_row;
    if (as_stored) std::copy_n(source, source_row, row);
    void* values = as_stored ? static_cast<void*>(decoded.data()) : row;
    dequantise_elements(entry.type, source, columns, as_stored ? DType::f32 : type, values);
    const int64_t bad = type == DType::bf16 ? first_not_finite<uint16_t>(values, columns, 0x7f80u)
                                            : first_not_finite<uint32_t>(values, columns, 0x7f800000u);
    if (bad >= 0) {
      fail(ExitCode::model, {part.tensor->file, part.name, "finite weights",
                             "NaN or infinity at [" + std::to_string(r) + ", " + std::to_string(bad) + "]",
                             "the model is damaged; fetch or export it again"});
    }
  }
}

// Fills tensors of the host by jobs for all threads: conversion by ranges of rows, sums by whole tensors.
// What was asked for is there after run(). One layer at a time keeps the file's pages warm and, for a GPU,
// only one layer in host memory.
class Importer {
  static constexpr Purpose kWeights{"a matrix of the frozen model",
                                    "set load_in_4bit: true, or take a smaller model"};

 public:
  Importer(const ModelFiles& files, DType compute, WeightStorage storage, Quantisation quantise,
           const Stream& stream)
      : files_(files), compute_(compute), storage_(storage), quantise_(quantise), stream_(stream) {}

  Part part(const std::string& name, int64_t rows, int64_t head_dim = 0) const {
    return {&files_.tensors.at(name), name, rows, head_dim};
  }

  WeightMatrix matrix(const std::vector<Part>& parts, int64_t columns) {
    return matrix(parts, columns, storage_);
  }

  WeightMatrix matrix(const std::vector<Part>& parts, int64_t columns, WeightStorage how) {
    const DType type = how == WeightStorage::as_stored ? common_block_type(parts) : compute_;
    WeightMatrix result{.type = type, .rows = 0, .columns = columns, .storage = nullptr};
    for (const Part& p : parts) result.rows += p.rows;
    auto storage = is_block_quantised(type)
                       ? std::make_shared<Tensor>(DType::u8, Shape{bytes_of(type, result.rows * columns)})
                       : std::make_shared<Tensor>(type, Shape{result.rows, columns});
    std::byte* out = storage->data();
    for (const Part& p : parts) {
      add_jobs(p, columns, type, out);
      out += bytes_of(type, p.rows * columns);
    }
    result.storage = std::move(storage);
    return result;
  }

  // Whether two matrices keep blocks that one would lose.
  bool stay_apart(const std::vector<Part>& parts, const Part& other) const {
    const DType type = common_block_type(parts), of_other = common_block_type({other});
    return storage_ == WeightStorage::as_stored && type != of_other && is_block_quantised(type) &&
           is_block_quantised(of_other);
  }

  Tensor vector(const std::string& name, int64_t size) {
    Tensor result(DType::f32, {size});
    add_jobs(part(name, 1), size, DType::f32, result.data());
    return result;
  }

  void run() {
    stream_.stop_point();
    stream_.threads().parallel_for(static_cast<int64_t>(jobs_.size()),
                                   [&](int64_t i) { jobs_[static_cast<size_t>(i)](); });
    jobs_.clear();
  }

  // The matrix in fewer bits where that is asked for; `rows` are those of the file's tensors in it.
  void compress(WeightMatrix& matrix, const std::vector<int64_t>& rows) const {
    if (quantise_ == Quantisation::none) return;
    if (matrix.columns % 64 != 0) {
      fail(ExitCode::model,
           {"", "load_in_4bit, load_in_8bit or fp8", "matrices whose columns are a multiple of 64",
            std::to_string(matrix.columns) + " columns", "load this model as it is"});
    }
    if (quantise_ == Quantisation::fp8) {
      matrix = to_fp8(matrix.view(), stream_);
      return;
    }
    const DType type = stored_type(quantise_);
    Tensor joined(DType::u8, {bytes_of(type, matrix.rows * matrix.columns)});
    std::byte* out = joined.data();
    int64_t begin = 0;
    for (const int64_t count : rows) {
      const Tensor part = gorgon::quantise(matrix.view().rows(begin, begin + count), quantise_, stream_);
      copy_bytes({}, out, {}, part.data(), part.bytes());
      out += part.bytes();
      begin += count;
    }
    matrix.type = type;
    matrix.storage = std::make_shared<const Tensor>(std::move(joined));
  }

  void move(Tensor& tensor) const {
    if (stream_.device() != Device{}) tensor = tensor.to(stream_.device());
  }
  void move(WeightMatrix& matrix) const {
    if (stream_.device() == Device{}) {
      if (has_panels(matrix.type)) matrix = to_panels(matrix, stream_);
      return;
    }
    matrix.storage = std::make_shared<const Tensor>(matrix.storage->to(stream_.device(), kWeights));
    if (matrix.scales == nullptr) return;
    matrix.scales = std::make_shared<const Tensor>(matrix.scales->to(stream_.device(), kWeights));
  }

  // Sums the tensors that were not asked for and joins all sums.
  std::string fingerprint() {
    for (const auto& [name, tensor] : files_.tensors) add_sum(name, tensor);
    run();
    Sha256 sum;
    for (const auto& [name, line] : sums_) sum.update(line);
    return sum.hex();
  }

 private:
  // The block type that all parts share; compute's where there is none.
  DType common_block_type(const std::vector<Part>& parts) const {
    const DType first = parts.front().tensor->entry.type;
    const bool same =
        std::all_of(parts.begin(), parts.end(), [&](const Part& p) { return p.tensor->entry.type == first; });
    return same && is_block_quantised(first) ? first : compute_;
  }

  void add_jobs(const Part& p, int64_t columns, DType type, std::byte* out) {
    add_sum(p.name, *p.tensor);
    const int64_t rows_per_job = std::max<int64_t>(1, kElementsPerJob / columns);
    for (int64_t begin = 0; begin < p.rows; begin += rows_per_job) {
      const int64_t end = std::min(p.rows, begin + rows_per_job);
      jobs_.push_back([=] { convert_rows(p, columns, begin, end, type, out); });
    }
  }

  void add_sum(const std::string& name, const ModelTensor& tensor) {
    const auto [place, added] = sums_.emplace(name, "");
    if (!added) return;
    jobs_.push_back([&name = place->first, &line = place->second, entry = &tensor.entry] {
      Sha256 sum;
      sum.update(entry->bytes);
      line = name + " " + std::string(gorgon::name(entry->type));
      for (const int64_t d : entry->shape) line += " " + std::to_string(d);
      line += " " + sum.hex() + "\n";
    });
  }

  const ModelFiles& files_;
  DType compute_;
  WeightStorage storage_;
  Quantisation quantise_;
  const Stream& stream_;
  std::vector<std::function<void()>> jobs_;
  std::map<std::string, std::string> sums_;  // a line for each tensor
};

LayerWeights load_layer(const ModelFiles& files, int64_t l, Importer& importer) {
  const ModelConfig& c = files.config;
  const TensorNames& n = files.names;
  const int64_t q = c.num_attention_heads * c.head_dim;
  const int64_t kv = c.num_key_value_heads * c.head_dim;
  const int64_t pairs = files.interleaved_heads ? c.head_dim : 0;
  LayerWeights layer;
  layer.attention_norm = importer.vector(n.layer(l, n.attention_norm), c.hidden_size);
  const Part query = importer.part(n.layer(l, n.query), q, pairs),
             key = importer.part(n.layer(l, n.key), kv, pairs),
             value = importer.part(n.layer(l, n.value), kv);
  if (importer.stay_apart({query, key}, value)) {
    layer.query_key_value = importer.matrix({query, key}, c.hidden_size);
    layer.value = importer.matrix({value}, c.hidden_size);
  } else {
    layer.query_key_value = importer.matrix({query, key, value}, c.hidden_size);
  }
  layer.attention_output = importer.matrix({importer.part(n.layer(l, n.attention_output), c.hidden_size)}, q);
  layer.feed_forward_norm = importer.vector(n.layer(l, n.feed_forward_norm), c.hidden_size);
  layer.gate_up = importer.matrix({importer.part(n.layer(l, n.gate), c.intermediate_size),
                                   importer.part(n.layer(l, n.up), c.intermediate_size)},
                                  c.hidden_size);
  layer.down = importer.matrix({importer.part(n.layer(l, n.down), c.hidden_size)}, c.intermediate_size);
  importer.run();
  importer.compress(layer.query_key_value, {q, kv, kv});
  importer.compress(layer.attention_output, {c.hidden_size});
  importer.compress(layer.gate_up, {c.intermediate_size, c.intermediate_size});
  importer.compress(layer.down, {c.hidden_size});
  importer.move(layer.attention_norm);
  importer.move(layer.query_key_value);
  importer.move(layer.attention_output);
  importer.move(layer.feed_forward_norm);
  importer.move(layer.gate_up);
  importer.move(layer.down);
  if (!layer.value.empty()) importer.move(layer.value);
  return layer;
}

enum class Kind { gguf, directory };

Kind kind_of(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::is_directory(status)) return Kind::directory;
  if (std::filesystem::exists(status)) return Kind::gguf;
  fail(ExitCode::model, {path.string(), "model_path", "a GGUF file or a Hugging Face directory",
                         "neither a file nor a directory", how_to_get_model(path.string())});
}

ModelFiles open_model(const std::filesystem::path& path) {
  return kind_of(path) == Kind::directory ? open_hugging_face_model(path) : open_gguf_model(path);
}

}  // namespace

ModelWeights load_model(const std::filesystem::path& path, DType compute, const Stream& stream,
                        WeightStorage storage, Quantisation quantise) {
  require(compute == DType::f32 || compute == DType::bf16, "load_model", "compute is neither f32 nor bf16");
  if (quantise == Quantisation::fp8) check_fp8(stream.device());
  const ModelFiles files = open_model(path);
  check_tensors(files);
  const ModelConfig& c = files.config;
  // What is to be quantised has to be plain first.
  if (quantise != Quantisation::none) storage = WeightStorage::converted;
  Importer importer(files, compute, storage, quantise, stream);
  const bool compact = storage == WeightStorage::compact_tables && stream.device() == Device{};
  ModelWeights weights;
  weights.config = c;
  weights.token_embedding =
      importer.matrix({importer.part(std::string(files.names.token_embedding), c.vocab_size)}, c.hidden_size,
                      compact ? WeightStorage::as_stored : WeightStorage::converted);
  weights.final_norm = importer.vector(std::string(files.names.final_norm), c.hidden_size);
  importer.run();
  if (!compact) importer.move(weights.token_embedding);  // rows, no panels
  importer.move(weights.final_norm);
  weights.lm_head = weights.token_embedding;
  if (!c.tie_word_embeddings || storage == WeightStorage::as_stored) {
    const auto& lm_head_name = c.tie_word_embeddings ? files.names.token_embedding : files.names.lm_head;
    weights.lm_head =
        importer.matrix({importer.part(std::string(lm_head_name), c.vocab_size)}, c.hidden_size);
    importer.run();
    importer.move(weights.lm_head);
  }
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) weights.layers.push_back(load_layer(files, l, importer));
  weights.fingerprint = importer.fingerprint();
  return weights;
}

ModelConfig check_model(const std::filesystem::path& path) {
  const ModelFiles files = open_model(path);
  check_tensors(files);
  return files.config;
}

ModelConfig load_model_config(const std::filesystem::path& path) {
  return kind_of(path) == Kind::directory ? read_hugging_face_config(path) : open_gguf_model(path).config;
}

}  // namespace gorgon
