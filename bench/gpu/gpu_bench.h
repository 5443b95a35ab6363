#pragma once

#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "data/sequences.h"
#include "kernels/tensor.h"
#include "model/model_weights.h"

namespace gorgon::bench {

constexpr int kHeads = 5;

// One result: a JSON object, field by field.
class Line {
 public:
  explicit Line(const std::string& what) { add("what", what); }
  Line& add(const std::string& key, const std::string& value);
  Line& add(const std::string& key, const char* value) { return add(key, std::string(value)); }
  Line& add(const std::string& key, double value);
  Line& add(const std::string& key, int64_t value);
  std::string json() const { return "{" + text_ + "}"; }

 private:
  void key(const std::string& key);
  std::string text_;
};

// Seconds of one call: the median of `rounds` calls, after one that is not counted. The host waits for the
// device at the end of each.
double seconds_of(const Stream& stream, int rounds, const std::function<void()>& call);

// Normal numbers, the same every time; memory of the stream's device.
Tensor random_tensor(DType type, Shape shape, float scale, unsigned seed, const Stream& stream);

// A model of random weights in bf16 under the sizes of a real one.
struct Sizes {
  std::string name;
  int64_t hidden, layers, intermediate, heads, kv_heads, head_dim, vocabulary;
};
const std::vector<Sizes>& all_sizes();
ModelWeights random_model(const Sizes& sizes, const Stream& stream);
// Other random numbers under the same sizes, the layers' matrices in fp8; a GPU that has it.
ModelWeights in_fp8(const ModelWeights& model, const Stream& stream);

// Random tokens in sequences of `length`; of each the last `supervised_share` has labels.
Sequences random_sequences(const Sizes& sizes, int64_t tokens, int64_t length, double supervised_share);

// Products [m, k] [k, n] of bf16 with f32 or bf16 results, back to back, nothing in between: what the steps
// cannot do without. Measured once a product.
struct Product {
  int64_t m, n, k;
  int count;
};
class Floor {
 public:
  explicit Floor(const Stream& stream) : stream_(stream) {}
  double seconds(const std::vector<Product>& products);

 private:
  const Stream& stream_;
  std::map<std::tuple<int64_t, int64_t, int64_t>, double> known_;
};
std::vector<Product> backbone_products(const Sizes& sizes, int64_t tokens);
// Forward, dW and dX of the Linear, forward and dW of the one ResBlock, whose input needs no gradient.
std::vector<Product> head_products(const Sizes& sizes, int64_t rows);

// The parts that are measured; each gives its lines as it goes.
using Sink = std::function<void(const Line&)>;
void measure_machine(const Stream& stream, const Sink& sink);
// NUMERICS of 8-bit AdamW: from bitsandbytes' own states, at least 99.9 % of codes equal and the rest next to
// theirs, absmax to 1e-6, bf16 weights to one unit in the last place.
void compare_with_bitsandbytes(const std::string& path, const Stream& stream, const Sink& sink);
void measure_optimizer(const Stream& stream, const Sink& sink);
void measure_steps(const Sizes& sizes, const std::vector<int64_t>& tokens, const Stream& stream,
                   const std::function<bool()>& out_of_time, const Sink& sink);
struct ReferenceJob {
  int64_t samples = 2100, evaluation_samples = 450, sample_tokens = 130, length = 256;
};
void measure_reference_job(const Sizes& sizes, const ReferenceJob& job, const Stream& stream,
                           const std::function<bool()>& out_of_time, const Sink& sink);

}  // namespace gorgon::bench
