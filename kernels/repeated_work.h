#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "kernels/device.h"

namespace gorgon {

// Work that is put into a stream again and again with nothing changed but what the memory holds: the same ops
// on the same views. A GPU runs it as one CUDA graph from the second time on, which spares the host the
// launches; a CPU, a stream whose time is profiled, and a device that takes no graphs run it as it is.
//
// One stream uses it, and what the work reads and writes outlives it.
class RepeatedWork {
 public:
  // false: always as it is, as where ranks talk to each other in between.
  explicit RepeatedWork(bool with_graphs = true) : refused_(!with_graphs) {}
  ~RepeatedWork();
  RepeatedWork(const RepeatedWork&) = delete;
  RepeatedWork& operator=(const RepeatedWork&) = delete;

  // key: everything the work's launches depend on, such as shapes, addresses, options. (The stream's own
  // memory is added to it.) The work neither uploads nor reads back nor allocates, but for what grows the
  // first time.
  void run(std::vector<int64_t> key, const std::function<void()>& work, const Stream& stream);

 private:
  struct Known {
    bool seen = false;
    void* graph = nullptr;
  };
  void forget(const Stream& stream);

  std::map<std::vector<int64_t>, Known> known_;
  bool refused_;  // no graphs are wanted, or the device took none
};

// An address as a part of a key.
inline int64_t key_of(const void* address) {
  return static_cast<int64_t>(reinterpret_cast<intptr_t>(address));
}

namespace cuda {
// What `work` puts into the stream, as a graph, with nothing of it done; nullptr where that does not work.
void* capture(const std::function<void()>& work, const Stream& stream);
void launch_graph(void* graph, const Stream& stream);
void destroy_graph(void* graph) noexcept;
}  // namespace cuda

}  // namespace gorgon
