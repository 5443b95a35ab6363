#include "kernels/side_queue.h"

#include "kernels/error.h"

namespace gorgon {

SideQueue::SideQueue(Device device) : device_(device), queue_(nullptr) {
  require(device.kind == DeviceKind::cuda, "SideQueue", "a CPU");
  queue_ = cuda::create_side_queue(device.index);
}

SideQueue::~SideQueue() {
  cuda::destroy_side_queue(device_.index, queue_);
}

void* SideQueue::native() const {
  return queue_;
}

void SideQueue::synchronize() const {
  cuda::synchronize_side_queue(device_.index, queue_);
}

void SideQueue::follow(const Stream& stream) const {
  cuda::follow(device_.index, queue_, stream);
}

SideQueue::Mark::Mark(const SideQueue& queue)
    : device_(queue.device_.index), event_(cuda::create_mark(queue.device_.index, queue.queue_)) {}

SideQueue::Mark::~Mark() {
  cuda::destroy_mark(device_, event_);
}

void SideQueue::Mark::hold(const Stream& stream) const {
  cuda::hold(stream, event_);
}

void follow(const Stream& later, const Stream& earlier) {
  require(later.device() == earlier.device(), "follow", "streams of two devices");
  if (later.device().kind == DeviceKind::cpu) return;  // all that was asked for is done
  cuda::follow(later, earlier);
}

bool SideQueue::Mark::passed() const noexcept {
  return cuda::passed(device_, event_);
}

HoldClock::~HoldClock() {
  for (const Hold& hold : open_) {
    cuda::destroy_mark(hold.device, hold.before);
    cuda::destroy_mark(hold.device, hold.behind);
  }
}

void HoldClock::hold(const SideQueue::Mark& mark, const Stream& stream) {
  void* before = cuda::create_time(stream);
  mark.hold(stream);
  open_.push_back({stream.device().index, before, cuda::create_time(stream)});
}

double HoldClock::take() {
  double sum = 0;
  while (!open_.empty()) {
    const auto [device, before, behind] = open_.front();
    const double seconds = cuda::seconds_between(device, before, behind);
    if (seconds < 0) break;
    sum += seconds;
    cuda::destroy_mark(device, before);
    cuda::destroy_mark(device, behind);
    open_.pop_front();
  }
  return sum;
}

}  // namespace gorgon
