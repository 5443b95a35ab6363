#include "trainer/overlapped_source.h"

#include <utility>

#include "kernels/error.h"
#include "kernels/side_queue.h"
#include "kernels/workspace.h"

namespace gorgon {

namespace {

class OverlappedSource : public StateSource {
 public:
  OverlappedSource(std::unique_ptr<StateSource> source, const OverlapOptions& options, const Stream& stream)
      : source_(std::move(source)),
        options_(options),
        state_(source_->state()),
        own_(stream.device(), StreamOptions{.threads = 1, .tf32 = stream.tf32()}) {
    own_.arena().reserve(options.reserved);
  }

  int64_t steps_per_epoch() const override { return source_->steps_per_epoch(); }

  int64_t next(StateRows& rows, const Stream& stream) override {
    if (!is_ahead_) fetch(stream);
    is_ahead_ = false;
    follow(stream, own_);  // the heads wait for their states
    std::swap(rows, next_);
    state_ = source_->state();
    const int64_t tokens = tokens_;
    if (steps_done() < options_.max_steps && stream.profile() == nullptr) fetch(stream);
    return tokens;
  }

  const LoaderState& state() const override { return state_; }

  void restore(const LoaderState& state) override {
    source_->restore(state);
    state_ = state;
    is_ahead_ = false;
  }

 private:
  int64_t steps_done() const {
    const int64_t batch = options_.global_batch;
    return state_.epoch * steps_per_epoch() + (state_.cursor + batch - 1) / batch;
  }

  // The memory of `next_` is that of the step before last, which the stream may still be reading.
  void fetch(const Stream& stream) {
    stream.stop_point();
    const Stream& where = stream.profile() == nullptr ? own_ : stream;
    follow(where, stream);
    tokens_ = source_->next(next_, where);
    is_ahead_ = true;
  }

  std::unique_ptr<StateSource> source_;
  OverlapOptions options_;
  LoaderState state_;
  StateRows next_;
  int64_t tokens_ = 0;  // of next_
  bool is_ahead_ = false;
  Stream own_;  // ends first: its work reads what is above
};

}  // namespace

std::unique_ptr<StateSource> overlapped_source(std::unique_ptr<StateSource> source,
                                               const OverlapOptions& options, const Stream& stream) {
  require(stream.device().kind == DeviceKind::cuda, "overlapped_source", "a CPU");
  return std::make_unique<OverlappedSource>(std::move(source), options, stream);
}

}  // namespace gorgon
