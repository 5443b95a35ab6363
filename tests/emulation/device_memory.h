#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>
#include <vector>

namespace gorgon::emulation {

// The emulated device's memory is pages of its own that are closed to the process unless a kernel, a library
// call's stand-in or a copy is at work: host code that touches device memory crashes here as it would on a
// GPU, and so do kernels that read or write past the end of a buffer or after its release.
class KernelAccess {
 public:
  KernelAccess();
  ~KernelAccess();
  KernelAccess(const KernelAccess&) = delete;
  KernelAccess& operator=(const KernelAccess&) = delete;
};

// What the host asked of the emulated device so far; a step that runs on without waiting adds to uploads,
// readbacks and graph_launches alone.
struct HostCalls {
  int64_t synchronisations = 0;  // the host waits for all that was asked, blocking copies among them
  int64_t waits = 0;             // for an event that had not come yet
  int64_t allocations = 0;
  int64_t uploads = 0, readbacks = 0;  // in the stream's order
  int64_t launches = 0, graph_launches = 0;
  int64_t heuristics = 0;             // questions to the library that multiplies matrices
  int64_t bytes = 0, peak_bytes = 0;  // of live buffers
  int capability[2] = {9, 0};         // what the device says it is
};
HostCalls& host_calls();

// Allocations beyond this many live bytes find no memory; 0 = no limit.
void set_device_memory(int64_t bytes);
int64_t device_memory_limit();

// The emulated device's memory, filled with NaN patterns; nullptr where the limit is reached.
void* allocate_memory(int64_t bytes);
void release_memory(void* data);

// Puts work behind what the stream has to do (cuda_runtime.h).
struct StreamState;
void enqueue(StreamState* stream, std::function<void()> work);
void finish_work(StreamState* stream);  // all that was put into it

// How far streams run that the host waits for nothing in, between what a GPU may do at the worst: all as late
// as somebody's waiting allows (at first), all as early as their own waiting allows, or one kind of them late
// and the others early. Where two streams share memory, an event that is missing shows in one of them.
enum class StreamOrder { late, early, oldest_late, newest_late };
void set_stream_order(StreamOrder order);

// Called by work in a stream: it has taken so long. Work that says nothing (all but the collectives of NCCL's
// stand-in) takes none of the emulated device's time.
void pass(double seconds);

// What streams were given since start_recording(), in the order in which the host asked for it.
struct Enqueued {
  const StreamState* stream;
  bool waits;  // for another stream
};
void start_recording();
std::vector<Enqueued> recorded();  // ends it

// Whether streams can be captured, as those of a GPU can. At first they can.
void set_graphs(bool available);

// While it is set nothing runs and no memory is touched, but all is counted: models of any size. Copies to
// the host give zeros.
void set_dry(bool dry);
bool is_dry();

// Throws Error(internal) unless the pointer is null or leads into a live buffer of the emulated device.
void check_device_pointer(const void* pointer);
bool is_device_pointer(const void* pointer);

template <typename T>
void check_argument(const T& value) {
  if constexpr (std::is_pointer_v<T>) check_device_pointer(value);
}

}  // namespace gorgon::emulation
