// CPU backend of gemm(): oneDNN's matmul, one single-threaded primitive per tile of c, tiles spread over our
// own threads. The only file that knows oneDNN; written for 2.6 and 3.x, which dropped operation descriptors.
#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <tuple>
#include <vector>

#include <dlfcn.h>
#include <dnnl.hpp>

#include "kernels/error.h"
#include "kernels/gemm.h"
#include "kernels/thread_pool.h"

namespace gorgon::cpu {

namespace {

using dnnl::memory;

// One tile's product, as oneDNN sees it. Leading dimensions are elements between rows as stored.
struct TileShape {
  int64_t m, n, k;
  int64_t stride_a, stride_b, stride_c;
  DType in, out;
  bool transpose_a, transpose_b, accumulate;
  auto key() const {
    return std::make_tuple(m, n, k, stride_a, stride_b, stride_c, in, out, transpose_a, transpose_b,
                           accumulate);
  }
  friend bool operator<(const TileShape& a, const TileShape& b) { return a.key() < b.key(); }
};

struct Product {
  memory::desc a, b, c;
  dnnl::matmul primitive;
  memory::desc scratchpad;
};

memory::desc matrix(int64_t rows, int64_t columns, int64_t stride, bool transposed, DType type) {
  const auto data_type = type == DType::f32 ? memory::data_type::f32 : memory::data_type::bf16;
  const memory::dims strides = transposed ? memory::dims{1, stride} : memory::dims{stride, 1};
  return {memory::dims{rows, columns}, data_type, strides};
}

// Debian's oneDNN runs on OpenMP, whose threads must stay asleep: the tiles are spread over our own pool. The
// setting is per calling thread. Looked up at run time, so that a oneDNN on another runtime works too.
void keep_openmp_single() {
  using SetThreads = void (*)(int);
  static const auto set_threads = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  if (set_threads != nullptr) set_threads(1);
}

// The engine and the primitives made so far: making one costs more than a small product.
class Products {
 public:
  static Products& instance() {
    static Products products;
    return products;
  }

  const dnnl::engine& engine() const { return engine_; }

  // nullptr where oneDNN cannot multiply these types on this chip.
  std::shared_ptr<const Product> find(const TileShape& shape) {
    const std::lock_guard lock(mutex_);
    const auto found = made_.find(shape);
    if (found != made_.end()) return found->second;
    if (made_.size() >= kMostProducts) made_.clear();
    return made_.emplace(shape, make(shape)).first->second;
  }

  bool multiplies_bf16() const { return multiplies_bf16_; }

 private:
  static constexpr size_t kMostProducts = 4096;

  Products() : engine_(dnnl::engine::kind::cpu, 0), multiplies_bf16_(probe_bf16()) {}

  // AVX-512 chips without bf16 instructions are served by an emulation slower than f32.
  bool probe_bf16() const {
    const auto isa = dnnl::get_effective_cpu_isa();
    if (isa == dnnl::cpu_isa::avx512_core || isa == dnnl::cpu_isa::avx512_core_vnni) return false;
    return make({16, 16, 16, 16, 16, 16, DType::bf16, DType::f32, false, true, false}) != nullptr;
  }

  std::shared_ptr<const Product> make(const TileShape& s) const {
    keep_openmp_single();
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    attributes.set_fpmath_mode(dnnl::fpmath_mode::strict);
    if (s.accumulate) {
      dnnl::post_ops add;
      add.append_sum(1.0f);
      attributes.set_post_ops(add);
    }
    auto product = std::make_shared<Product>();
    product->a = matrix(s.m, s.k, s.stride_a, s.transpose_a, s.in);
    product->b = matrix(s.k, s.n, s.stride_b, s.transpose_b, s.in);
    product->c = matrix(s.m, s.n, s.stride_c, false, s.out);
    constexpr bool kAllowEmpty = true;
#if DNNL_VERSION_MAJOR >= 3
    const dnnl::matmul::primitive_desc description(engine_, product->a, product->b, product->c, attributes,
                                                   kAllowEmpty);
#else
    const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(product->a, product->b, product->c),
                                                   attributes, engine_, kAllowEmpty);
#endif
    if (!description) return nullptr;
    product->primitive = dnnl::matmul(description);
    product->scratchpad = description.scratchpad_desc();
    return product;
  }

  dnnl::engine engine_;
  bool multiplies_bf16_;
  std::mutex mutex_;
  std::map<TileShape, std::shared_ptr<const Product>> made_;
};

// What one thread keeps between its tiles of one call.
class Worker {
 public:
  Worker() : stream_(Products::instance().engine()) { keep_openmp_single(); }

  void multiply(const TileShape& shape, const std::byte* a, const std::byte* b, std::byte* c) {
    const auto product = Products::instance().find(shape);
    require(product != nullptr, "gemm", "oneDNN has no product of these types");
    const dnnl::engine& engine = Products::instance().engine();
    const auto scratch_bytes = static_cast<int64_t>(product->scratchpad.get_size());
    if (scratch_.empty() || scratch_.bytes() < scratch_bytes) {
      scratch_ = Tensor(DType::u8, {std::max<int64_t>(scratch_bytes, 64)});
    }
    const auto operand = [&](const memory::desc& description, const std::byte* data) {
      return memory(description, engine, const_cast<std::byte*>(data));
    };
    product->primitive.execute(stream_,
                               {{DNNL_ARG_SRC, operand(product->a, a)},
                                {DNNL_ARG_WEIGHTS, operand(product->b, b)},
                                {DNNL_ARG_DST, operand(product->c, c)},
                                {DNNL_ARG_SCRATCHPAD, operand(product->scratchpad, scratch_.data())}});
    stream_.wait();
  }

  Tensor& converted_a() { return converted_a_; }
  Tensor& converted_b() { return converted_b_; }
  Tensor& sums() { return sums_; }

 private:
  dnnl::stream stream_;
  Tensor scratch_, converted_a_, converted_b_, sums_;
};

// A block [first_row, +rows) x [first_column, +columns) of a matrix as stored.
struct Block {
  const std::byte* data;
  int64_t rows, columns, stride;
};

Block block(ConstView matrix, int64_t first_row, int64_t rows, int64_t first_column, int64_t columns) {
  return {matrix.data + bytes_of(matrix.type, first_row * matrix.stride() + first_column), rows, columns,
          matrix.stride()};
}

// Rows and columns of op(matrix), as a block of what is stored.
Block operand_block(ConstView matrix, bool transposed, int64_t row, int64_t rows, int64_t column,
                    int64_t columns) {
  return transposed ? block(matrix, column, columns, row, rows) : block(matrix, row, rows, column, columns);
}

const std::byte* to_f32(const Block& from, DType type, Tensor& buffer) {
  const int64_t elements = from.rows * from.columns;
  if (buffer.empty() || buffer.elements() < elements) buffer = Tensor(DType::f32, {elements});
  for (int64_t i = 0; i < from.rows; ++i) {
    if (type == DType::f32) {
      std::copy_n(reinterpret_cast<const float*>(from.data) + i * from.stride, from.columns,
                  buffer.as<float>() + i * from.columns);
      continue;
    }
    const bf16* source = reinterpret_cast<const bf16*>(from.data) + i * from.stride;
    float* row = buffer.as<float>() + i * from.columns;
    for (int64_t j = 0; j < from.columns; ++j) row[j] = static_cast<float>(source[j]);
  }
  return buffer.data();
}

struct Tile {
  int64_t row, rows, column, columns;
};

class TiledGemm {
 public:
  TiledGemm(ConstView a, ConstView b, View c, const GemmOptions& options)
      : a_(a), b_(b), c_(c), options_(options), k_(options.transpose_a ? a.shape[0] : a.shape[1]) {}

  void tile(const Tile& t, Worker& worker) const {
    const bool as_they_are =
        a_.type == DType::bf16 ? Products::instance().multiplies_bf16() : c_.type == DType::f32;
    if (!as_they_are) {
      converted_tile(t, worker);
      return;
    }
    const Block a = operand_block(a_, options_.transpose_a, t.row, t.rows, 0, k_);
    const Block b = operand_block(b_, options_.transpose_b, 0, k_, t.column, t.columns);
    worker.multiply({t.rows, t.columns, k_, a.stride, b.stride, c_.stride(), a_.type, c_.type,
                     options_.transpose_a, options_.transpose_b, options_.write == Write::accumulate},
                    a.data, b.data, destination(t));
  }

 private:
  std::byte* destination(const Tile& t) const {
    return c_.data + bytes_of(c_.type, t.row * c_.stride() + t.column);
  }

  // Operands copied to f32, a range of K at a time; the sums of a bf16 result wait in f32.
  void converted_tile(const Tile& t, Worker& worker) const {
    constexpr int64_t kDepth = 2048;
    std::byte* sums = destination(t);
    int64_t stride = c_.stride();
    if (c_.type == DType::bf16) {
      Tensor& buffer = worker.sums();
      if (buffer.empty() || buffer.elements() < t.rows * t.columns) {
        buffer = Tensor(DType::f32, {t.rows * t.columns});
      }
      sums = buffer.data();
      stride = t.columns;
    }
    for (int64_t k = 0; k < k_; k += kDepth) {
      const int64_t depth = std::min(kDepth, k_ - k);
      const Block a = operand_block(a_, options_.transpose_a, t.row, t.rows, k, depth);
      const Block b = operand_block(b_, options_.transpose_b, k, depth, t.column, t.columns);
      const bool accumulate = k > 0 || options_.write == Write::accumulate;
      worker.multiply({t.rows, t.columns, depth, a.columns, b.columns, stride, DType::f32, DType::f32,
                       options_.transpose_a, options_.transpose_b, accumulate},
                      to_f32(a, a_.type, worker.converted_a()), to_f32(b, b_.type, worker.converted_b()),
                      sums);
    }
    if (c_.type == DType::bf16) round_sums(t, worker.sums().as<float>());
  }

  void round_sums(const Tile& t, const float* sums) const {
    for (int64_t i = 0; i < t.rows; ++i) {
      bf16* row = reinterpret_cast<bf16*>(destination(t)) + i * c_.stride();
      for (int64_t j = 0; j < t.columns; ++j) row[j] = bf16(sums[i * t.columns + j]);
    }
  }

  ConstView a_, b_;
  View c_;
  GemmOptions options_;
  int64_t k_;
};

// Tiles depend on the shape alone, never on the number of threads: same shape, same bits.
struct Tiling {
  int64_t rows, columns;
};

Tiling tiling(int64_t m, int64_t n) {
  constexpr int64_t kMostRows = 256, kMostColumns = 512, kLeast = 64, kWantedTiles = 32;
  Tiling tiles{std::min(m, kMostRows), std::min(n, kMostColumns)};
  const auto pieces = [](int64_t whole, int64_t part) { return (whole + part - 1) / part; };
  while (pieces(m, tiles.rows) * pieces(n, tiles.columns) < kWantedTiles) {
    if (tiles.columns > kLeast && tiles.columns >= tiles.rows) {
      tiles.columns = std::max(kLeast, (tiles.columns / 2 + 15) / 16 * 16);
    } else if (tiles.rows > kLeast) {
      tiles.rows = std::max(kLeast, (tiles.rows / 2 + 15) / 16 * 16);
    } else if (tiles.columns > kLeast) {
      tiles.columns = std::max(kLeast, (tiles.columns / 2 + 15) / 16 * 16);
    } else {
      break;
    }
  }
  return tiles;
}

}  // namespace

void gemm(ConstView a, ConstView b, View c, const GemmOptions& options, const Stream& stream) {
  const int64_t m = c.shape[0], n = c.shape[1];
  const Tiling tiles = tiling(m, n);
  const int64_t across = (n + tiles.columns - 1) / tiles.columns;
  const int64_t count = (m + tiles.rows - 1) / tiles.rows * across;
  const TiledGemm product(a, b, c, options);
  std::atomic<int64_t> next{0};
  stream.threads().parallel_for(std::min<int64_t>(count, stream.threads().size()), [&](int64_t) {
    Worker worker;
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      const int64_t row = i / across * tiles.rows, column = i % across * tiles.columns;
      product.tile({row, std::min(tiles.rows, m - row), column, std::min(tiles.columns, n - column)}, worker);
    }
  });
}

}  // namespace gorgon::cpu
