#pragma once

#include "kernels/loss_sums.h"
#include "kernels/transfer.h"
#include "optim/step_scalars.h"

namespace gorgon {

// What a step reports, in one piece of device memory: LossSums of every head, StepState, sums of squares
// f32[parameters].
class StepReport {
 public:
  StepReport(size_t heads, size_t parameters, Device device)
      : heads_(heads),
        parameters_(parameters),
        memory_(Tensor::zeros(DType::u8, {bytes()}, device)),
        readbacks_{{bytes(), device}, {bytes(), device}} {}

  LossSums* losses() { return memory_.as<LossSums>(); }
  StepState* state() { return reinterpret_cast<StepState*>(memory_.data() + state_at()); }
  View squares() {
    return {
        memory_.data() + squares_at(), DType::f32, {static_cast<int64_t>(parameters_)}, memory_.device(), 0};
  }
  View all() { return memory_.view(); }

  // At most kOpen reports are on their way; they are received in the order of sending.
  static constexpr size_t kOpen = 2;
  void send(const Stream& stream) { readbacks_[sent_++ % kOpen].start(memory_.data(), stream); }
  struct OnHost {
    const LossSums* losses;
    const StepState* state;
    const float* squares;
  };
  OnHost receive() {
    const std::byte* host = readbacks_[received_++ % kOpen].wait();
    return {reinterpret_cast<const LossSums*>(host), reinterpret_cast<const StepState*>(host + state_at()),
            reinterpret_cast<const float*>(host + squares_at())};
  }

 private:
  size_t state_at() const { return heads_ * sizeof(LossSums); }
  size_t squares_at() const { return state_at() + sizeof(StepState); }
  int64_t bytes() const { return static_cast<int64_t>(squares_at() + parameters_ * sizeof(float)); }

  size_t heads_, parameters_;
  Tensor memory_;
  Readback readbacks_[kOpen];
  size_t sent_ = 0, received_ = 0;
};

}  // namespace gorgon
