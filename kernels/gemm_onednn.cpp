// bf16 tiles of gemm() through oneDNN's matmul, one single-threaded primitive per tile shape. The only file
// that knows oneDNN; written for 2.6 and 3.x, which dropped operation descriptors.
#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <string_view>
#include <tuple>

#include <dlfcn.h>
#include <dnnl.hpp>
#include <sys/mman.h>

#include "kernels/error.h"
#include "kernels/gemm_tiles.h"
#include "kernels/instruction_set.h"

namespace gorgon::cpu {

namespace {

using dnnl::memory;

// Leading dimensions are elements between rows as stored.
struct TileShape {
  int64_t m, n, k;
  int64_t stride_a, stride_b, stride_c;
  DType out;
  bool transpose_a, transpose_b, accumulate;
  auto key() const {
    return std::make_tuple(m, n, k, stride_a, stride_b, stride_c, out, transpose_a, transpose_b, accumulate);
  }
  friend bool operator<(const TileShape& a, const TileShape& b) { return a.key() < b.key(); }
};

struct Primitive {
  memory::desc a, b, c;
  dnnl::matmul matmul;
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

// oneDNN writes the code that it compiles without looking whether it got the memory (2.6.3 dies of it).
void require_room_for_code() {
  constexpr size_t kRoom = size_t{16} << 20;  // several times what a product takes
  void* room = ::mmap(nullptr, kRoom, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) throw std::bad_alloc();
  ::munmap(room, kRoom);
}

// The engine and the primitives made so far: making one costs more than a small product.
class Primitives {
 public:
  static Primitives& instance() {
    static Primitives primitives;
    return primitives;
  }

  const dnnl::engine& engine() const { return engine_; }
  bool multiply_bf16() const { return multiply_bf16_; }

  std::shared_ptr<const Primitive> find(const TileShape& shape) {
    const std::lock_guard lock(mutex_);
    const auto found = made_.find(shape);
    if (found != made_.end()) return found->second;
    if (made_.size() >= kMost) made_.clear();
    return made_.emplace(shape, make(shape)).first->second;
  }

 private:
  static constexpr size_t kMost = 4096;

  Primitives() : engine_(dnnl::engine::kind::cpu, 0), multiply_bf16_(probe_bf16()) {}

  bool probe_bf16() const {
    const auto isa = dnnl::get_effective_cpu_isa();
    if (isa == dnnl::cpu_isa::avx512_core || isa == dnnl::cpu_isa::avx512_core_vnni) return false;
    Primitive primitive;
    const auto description = describe({16, 16, 16, 16, 16, 16, DType::f32, false, true, false}, primitive);
    // "ref...": plain loops for chips that oneDNN has no kernel for; ours are faster.
    return description && !std::string_view(description.impl_info_str()).starts_with("ref");
  }

  // False where oneDNN cannot multiply bf16 on this chip. Sets the operands of `primitive`.
  dnnl::matmul::primitive_desc describe(const TileShape& s, Primitive& primitive) const {
    keep_openmp_single();
    require_room_for_code();
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    attributes.set_fpmath_mode(dnnl::fpmath_mode::strict);
    if (s.accumulate) {
      dnnl::post_ops add;
      add.append_sum(1.0f);
      attributes.set_post_ops(add);
    }
    primitive.a = matrix(s.m, s.k, s.stride_a, s.transpose_a, DType::bf16);
    primitive.b = matrix(s.k, s.n, s.stride_b, s.transpose_b, DType::bf16);
    primitive.c = matrix(s.m, s.n, s.stride_c, false, s.out);
    constexpr bool kAllowEmpty = true;
#if DNNL_VERSION_MAJOR >= 3
    return {engine_, primitive.a, primitive.b, primitive.c, attributes, kAllowEmpty};
#else
    return {dnnl::matmul::desc(primitive.a, primitive.b, primitive.c), attributes, engine_, kAllowEmpty};
#endif
  }

  std::shared_ptr<const Primitive> make(const TileShape& s) const {
    auto primitive = std::make_shared<Primitive>();
    const auto description = describe(s, *primitive);
    require(static_cast<bool>(description), "gemm", "oneDNN has no product of this shape");
    primitive->matmul = dnnl::matmul(description);
    primitive->scratchpad = description.scratchpad_desc();
    return primitive;
  }

  dnnl::engine engine_;
  bool multiply_bf16_;
  std::mutex mutex_;
  std::map<TileShape, std::shared_ptr<const Primitive>> made_;
};

const std::byte* element(ConstView matrix, int64_t row, int64_t column) {
  return matrix.data + bytes_of(matrix.type, row * matrix.stride() + column);
}

}  // namespace

void limit_onednn(OneDnnLimit limit) {
  const auto isa = limit == OneDnnLimit::avx2 ? dnnl::cpu_isa::avx2 : dnnl::cpu_isa::sse41;
  require(dnnl::set_max_cpu_isa(isa) == dnnl::status::success, "limit_onednn",
          "called behind the first product");
}

bool onednn_multiplies_bf16() {
  return Primitives::instance().multiply_bf16();
}

struct OneDnnTiles::Impl {
  const Product& product;
  dnnl::stream stream;
  Tensor scratch;
};

OneDnnTiles::OneDnnTiles(const Product& product)
    : impl_(new Impl{product, dnnl::stream(Primitives::instance().engine()), Tensor()}) {
  keep_openmp_single();
}

OneDnnTiles::~OneDnnTiles() = default;

void OneDnnTiles::multiply(const Tile& t) {
  const auto& [a, b, c, options] = impl_->product;
  const auto primitive = Primitives::instance().find(
      {t.rows, t.columns, impl_->product.k(), a.stride(), b.stride(), c.stride(), c.type, options.transpose_a,
       options.transpose_b, options.write == Write::accumulate});
  const auto scratch_bytes = static_cast<int64_t>(primitive->scratchpad.get_size());
  if (impl_->scratch.empty() || impl_->scratch.bytes() < scratch_bytes) {
    impl_->scratch = Tensor(DType::u8, {std::max<int64_t>(scratch_bytes, 64)});
  }
  const auto argument = [](const memory::desc& description, const std::byte* data) {
    return memory(description, Primitives::instance().engine(), const_cast<std::byte*>(data));
  };
  const auto* from_a = options.transpose_a ? element(a, 0, t.row) : element(a, t.row, 0);
  const auto* from_b = options.transpose_b ? element(b, t.column, 0) : element(b, 0, t.column);
  primitive->matmul.execute(impl_->stream,
                            {{DNNL_ARG_SRC, argument(primitive->a, from_a)},
                             {DNNL_ARG_WEIGHTS, argument(primitive->b, from_b)},
                             {DNNL_ARG_DST, argument(primitive->c, element(c, t.row, t.column))},
                             {DNNL_ARG_SCRATCHPAD, argument(primitive->scratchpad, impl_->scratch.data())}});
  impl_->stream.wait();
}

}  // namespace gorgon::cpu
