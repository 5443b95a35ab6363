#include "optim/step_scalars.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "optim/gradient_clipping.h"
#include "tests/kernels/on_device.h"

namespace gorgon {
namespace {

// Steps on the device under test, one after the other.
class Steps {
 public:
  StepState next(const std::vector<float>& squares, const std::vector<double>& losses, double max_norm) {
    std::vector<LossSums> sums(losses.size());
    for (size_t k = 0; k < losses.size(); ++k) sums[k].cross_entropy = losses[k];
    Tensor on_device(DType::u8, {static_cast<int64_t>(sums.size() * sizeof(LossSums))}, stream_.device());
    copy_bytes(stream_.device(), on_device.data(), {}, sums.data(), on_device.bytes());
    const Tensor s = Tensor::of(squares, {static_cast<int64_t>(squares.size())}, stream_.device());
    prepare_step(s.view(), on_device.as<LossSums>(), static_cast<int>(losses.size()), 0.5f, max_norm,
                 state_.as<StepState>(), stream_);
    stream_.synchronize();
    return *state_.to({}).as<StepState>();
  }

 private:
  const Stream stream_{test_device(), 1};
  Tensor state_ = Tensor::zeros(DType::u8, {sizeof(StepState)}, stream_.device());
};

TEST(PrepareStep, ClipsAsTheHostDoes) {
  Steps steps;
  const std::vector<float> squares = {0.3f, 1e-8f, 7.25f};
  const double norm = std::sqrt(static_cast<double>(0.3f) + static_cast<double>(1e-8f) + 7.25);
  for (const double max_norm : {1.0, 100.0, 0.0}) {
    const StepState state = steps.next(squares, {1.0, 2.0}, max_norm);
    EXPECT_EQ(state.scalars.grad_scale, clip_scale(norm, max_norm)) << max_norm;
    EXPECT_EQ(state.scalars.lr, 0.5f);
    EXPECT_EQ(state.scalars.skip, 0);
  }
}

TEST(PrepareStep, SkipsTheVeryStepThatIsNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  Steps steps;
  EXPECT_EQ(steps.next({1.0f}, {1.0}, 1.0).scalars.step, 1);
  for (const auto& [squares, losses] : std::vector<std::pair<std::vector<float>, std::vector<double>>>{
           {{1.0f, nan}, {1.0}},
           {{infinity}, {1.0}},
           {{1.0f}, {2.0, static_cast<double>(nan)}},
           {{1.0f}, {static_cast<double>(-infinity)}}}) {
    const StepState state = steps.next(squares, losses, 1.0);
    EXPECT_EQ(state.scalars.skip, 1);
    EXPECT_EQ(state.taken, 1) << "a skipped step counts";
  }
  const StepState next = steps.next({1.0f}, {1.0}, 1.0);
  EXPECT_EQ(next.scalars.skip, 0);
  EXPECT_EQ(next.scalars.step, 2);
  EXPECT_EQ(next.taken, 2);
}

}  // namespace
}  // namespace gorgon
