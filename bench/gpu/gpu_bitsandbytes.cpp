#include <cmath>
#include <fstream>

#include "bench/gpu/gpu_bench.h"
#include "kernels/error.h"
#include "optim/adamw.h"

// The steps that tests/oracle/adamw_cuda.py wrote, taken again from the same states.
namespace gorgon::bench {

namespace {

struct State {
  Tensor param, momentum, variance, momentum_absmax, variance_absmax;
};

class File {
 public:
  explicit File(const std::string& path) : stream_(path, std::ios::binary) {
    for (int64_t* value : {&elements, &steps, &bf16_}) read(value, sizeof(*value));
  }
  DType type() const { return bf16_ != 0 ? DType::bf16 : DType::f32; }
  Tensor tensor(DType type, int64_t n) {
    Tensor t(type, {n});
    read(t.data(), t.bytes());
    return t;
  }
  State state() {
    const int64_t blocks = (elements + kStateBlock - 1) / kStateBlock;
    Tensor param = tensor(type(), elements), momentum = tensor(DType::u8, elements);
    Tensor variance = tensor(DType::u8, elements), m = tensor(DType::f32, blocks);
    return {std::move(param), std::move(momentum), std::move(variance), std::move(m),
            tensor(DType::f32, blocks)};
  }

  int64_t elements = 0, steps = 0;

 private:
  void read(void* to, int64_t bytes) {
    stream_.read(static_cast<char*>(to), bytes);
    if (!stream_) fail(ExitCode::data, {"", "steps of bitsandbytes", "a whole file", "its end", ""});
  }
  std::ifstream stream_;
  int64_t bf16_ = 0;
};

struct Difference {
  int64_t codes = 0, equal = 0, worst_code = 0, worst_ulp = 0;
  double worst_absmax = 0;  // relative
  double worst_param = 0;   // of f32, absolute

  void add_codes(const Tensor& ours, const Tensor& theirs) {
    for (int64_t i = 0; i < ours.elements(); ++i) {
      const int difference = std::abs(ours.as<uint8_t>()[i] - theirs.as<uint8_t>()[i]);
      equal += difference == 0 ? 1 : 0;
      worst_code = std::max<int64_t>(worst_code, difference);
    }
    codes += ours.elements();
  }
  void add_absmax(const Tensor& ours, const Tensor& theirs) {
    for (int64_t i = 0; i < ours.elements(); ++i) {
      const auto a = static_cast<double>(ours.as<float>()[i]), b = static_cast<double>(theirs.as<float>()[i]);
      worst_absmax = std::max(worst_absmax, std::abs(a - b) / b);
    }
  }
  void add_param(const Tensor& ours, const Tensor& theirs) {
    for (int64_t i = 0; i < ours.elements(); ++i) {
      if (ours.type() == DType::f32) {
        const auto a = static_cast<double>(ours.as<float>()[i]),
                   b = static_cast<double>(theirs.as<float>()[i]);
        worst_param = std::max(worst_param, std::abs(a - b));
      } else {
        const int a = ours.as<bf16>()[i].bits, b = theirs.as<bf16>()[i].bits;
        worst_ulp = std::max<int64_t>(worst_ulp, std::abs(a - b));
      }
    }
  }
};

State step(const State& from, const Tensor& grad, int32_t t, const Stream& stream) {
  const Device device = stream.device();
  State to{from.param.to(device), from.momentum.to(device), from.variance.to(device),
           from.momentum_absmax.to(device), from.variance_absmax.to(device)};
  const Tensor gradient = grad.to(device);
  ParamGroup group;
  group.param = to.param.view();
  group.grad = gradient.view();
  group.weight_decay = 0.01f;
  const AdamWState views{
      to.momentum.view(), to.variance.view(), to.momentum_absmax.view(), to.variance_absmax.view(), {}};
  const StepScalars scalars{1e-3f, 1.0f, t, 0};
  Tensor on_device(DType::u8, {sizeof scalars}, device);
  copy_bytes(device, on_device.data(), {}, &scalars, sizeof scalars);
  adamw_step(group, views, {}, on_device.as<StepScalars>(), stream);
  stream.synchronize();
  return {to.param.to({}), to.momentum.to({}), to.variance.to({}), to.momentum_absmax.to({}),
          to.variance_absmax.to({})};
}

}  // namespace

void compare_with_bitsandbytes(const std::string& path, const Stream& stream, const Sink& sink) {
  File file(path);
  Difference difference;
  for (int64_t s = 0; s < file.steps; ++s) {
    const Tensor grad = file.tensor(file.type(), file.elements);
    const State before = file.state(), theirs = file.state();
    const State ours = step(before, grad, static_cast<int32_t>(s) + 2, stream);  // the first made the states
    difference.add_codes(ours.momentum, theirs.momentum);
    difference.add_codes(ours.variance, theirs.variance);
    difference.add_absmax(ours.momentum_absmax, theirs.momentum_absmax);
    difference.add_absmax(ours.variance_absmax, theirs.variance_absmax);
    difference.add_param(ours.param, theirs.param);
  }
  const double equal = static_cast<double>(difference.equal) / static_cast<double>(difference.codes);
  const bool good = equal >= 0.999 && difference.worst_code <= 1 && difference.worst_absmax <= 1e-6 &&
                    difference.worst_ulp <= 1;
  sink(Line("bitsandbytes")
           .add("type", std::string(name(file.type())))
           .add("codes_equal", equal)
           .add("worst_code", difference.worst_code)
           .add("worst_absmax", difference.worst_absmax)
           .add("worst_weight_ulp", difference.worst_ulp)
           .add("worst_weight", difference.worst_param)
           .add("agrees", int64_t{good}));
}

}  // namespace gorgon::bench
