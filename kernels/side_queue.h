#pragma once

#include <deque>

#include "kernels/device.h"

namespace gorgon {

// A queue of a GPU beside a stream's own: what is put into it runs while the stream computes. Neither makes
// the host wait.
class SideQueue {
 public:
  explicit SideQueue(Device device);  // a GPU; Error(internal) for a CPU
  ~SideQueue();
  SideQueue(const SideQueue&) = delete;
  SideQueue& operator=(const SideQueue&) = delete;

  void* native() const;                     // the driver's handle, a cudaStream_t
  void synchronize() const;                 // the host waits for all of it
  void follow(const Stream& stream) const;  // what comes next here waits for what the stream has to do now

  // Behind what is in the queue now; the streams that are given it wait until then.
  class Mark {
   public:
    explicit Mark(const SideQueue& queue);
    ~Mark();
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;
    void hold(const Stream& stream) const;
    // Whether the queue has come to it; also where the device has failed, which the next call tells. Any
    // thread may ask.
    bool passed() const noexcept;

   private:
    int device_;
    void* event_;
  };

 private:
  Device device_;
  void* queue_;
};

// How long streams stand still at marks: the device takes the time in front of each hold and behind it. The
// host waits for neither. One thread at a time.
class HoldClock {
 public:
  HoldClock() = default;
  ~HoldClock();
  HoldClock(const HoldClock&) = delete;
  HoldClock& operator=(const HoldClock&) = delete;

  void hold(const SideQueue::Mark& mark, const Stream& stream);  // mark.hold(stream)
  // Seconds of those holds that their streams have passed since the last call.
  double take();

 private:
  struct Hold {
    int device;
    void *before, *behind;
  };
  std::deque<Hold> open_;  // oldest first
};

// What comes next in `later` waits for what `earlier` has to do now; both are of one device. The host waits
// for neither.
void follow(const Stream& later, const Stream& earlier);

namespace cuda {
void* create_side_queue(int index);
void destroy_side_queue(int index, void* queue) noexcept;
void synchronize_side_queue(int index, void* queue);
void follow(int index, void* queue, const Stream& stream);
void follow(const Stream& later, const Stream& earlier);
void* create_mark(int index, void* queue);
void destroy_mark(int index, void* mark) noexcept;
void hold(const Stream& stream, void* mark);
bool passed(int index, void* mark) noexcept;
void* create_time(const Stream& stream);  // the time when the stream comes here; destroy_mark ends it
// Negative where the stream has not come to `end` yet.
double seconds_between(int index, void* begin, void* end) noexcept;
}  // namespace cuda

}  // namespace gorgon
