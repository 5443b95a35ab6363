#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>

namespace gorgon {

class Arena;
class Profile;
class ThreadPool;

enum class DeviceKind : uint8_t { cpu, cuda };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;
  friend bool operator==(Device, Device) = default;
};

std::string to_string(Device device);  // "cpu", "cuda:0"

// "auto", "cpu", "cuda", "cuda:N". auto takes a GPU where the backend is built in and a GPU answers.
// Throws Error(config) for another name, Error(resource) for a device that is not there.
Device parse_device(const std::string& name);

// Thrown at a stop point to the command at work. Not a failure, so not an Error.
class Stopped : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped on request"; }
};

// What the owner of a stream chooses beside its device.
struct StreamOptions {
  int threads = 0;    // workers of the CPU backend (0 = one per core the process may use)
  bool tf32 = false;  // a GPU may round the operands of f32 products to tf32
  std::function<bool()> stop_wanted = {};  // asked at stop points; empty = never
};

// Where and with what an op runs: a device, the threads of the CPU backend, the queue of the CUDA backend.
// Passed to every op, never global. Ops on a CPU stream are finished when they return; ops on a CUDA stream
// are ordered in it. Not copyable; one thread at a time uses a stream.
class Stream {
 public:
  explicit Stream(Device device = {}, int threads = 0);
  Stream(Device device, StreamOptions options);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  ThreadPool& threads() const { return *threads_; }
  bool tf32() const { return options_.tf32; }

  // Between pieces of work that may be left undone (layers, chunks of rows): throws Stopped where the owner
  // wants the work to end.
  void stop_point() const {
    if (options_.stop_wanted && options_.stop_wanted()) throw Stopped();
  }

  void* native() const { return native_; }  // the CUDA backend's queue on a GPU, nullptr on the CPU

  // Memory of the device for what an op needs between its beginning and its end; the next call may hand out
  // the same bytes. Grows to the largest request and stays, so that a repeated step allocates nothing.
  void* scratch(int64_t bytes) const;

  // Buffers of whole calls are borrowed from here, by Workspace (workspace.h).
  Arena& arena() const { return *arena_; }

  void synchronize() const;

  // Where the time of what runs here is counted (profile.h); nullptr = nowhere. Must outlive its use.
  Profile* profile() const { return profile_; }
  void set_profile(Profile* profile) { profile_ = profile; }

 private:
  Device device_;
  StreamOptions options_;
  std::unique_ptr<ThreadPool> threads_;
  void* native_ = nullptr;
  Profile* profile_ = nullptr;
  std::unique_ptr<Arena> arena_;
  mutable void* scratch_ = nullptr;
  mutable int64_t scratch_bytes_ = 0;
};

// What a buffer is for: what the user reads where there is no memory for it.
struct Purpose {
  const char* name = "a buffer";
  const char* remedy =
      "lower per_device_train_batch_size or max_seq_length, or set load_in_4bit: true; gorgon plan CONFIG "
      "lists "
      "every buffer";
};

// Raw memory of a device, 64-byte aligned, not initialised. Throws Error(resource) naming purpose and details
// ("bf16[4096, 28672]"), bytes asked and free.
void* allocate(Device device, int64_t bytes, const Purpose& purpose = {}, const std::string& details = {});
void release(Device device, void* data) noexcept;
// Copy between any two devices, complete for the host when it returns.
void copy_bytes(Device to, void* destination, Device from, const void* source, int64_t bytes);
void zero_bytes(Device device, void* destination, int64_t bytes);

// What the CUDA backend provides (device_cuda.cpp, or no_cuda.cpp whose functions throw).
namespace cuda {
bool is_built();
int device_count();
void* allocate(int index, int64_t bytes);  // nullptr: no memory
struct MemoryState {
  int64_t free, total;  // bytes
};
MemoryState memory_state(int index);
void release(int index, void* data) noexcept;
void copy_bytes(Device to, void* destination, Device from, const void* source, int64_t bytes);
void zero_bytes(int index, void* destination, int64_t bytes);
void* create_stream(int index);
void destroy_stream(int index, void* stream) noexcept;
void synchronize(int index, void* stream);
}  // namespace cuda

}  // namespace gorgon
