#include "kernels/repeated_work.h"

#include "kernels/workspace.h"

namespace gorgon {

namespace {
// Rows of a step differ from step to step where labels are masked: keys that never come back must not pile
// up.
constexpr size_t kMostKeys = 256;
}  // namespace

RepeatedWork::~RepeatedWork() {
  for (auto& [key, known] : known_) {
    if (known.graph != nullptr) cuda::destroy_graph(known.graph);
  }
}

void RepeatedWork::forget(const Stream& stream) {
  stream.synchronize();  // graphs may be at work
  for (auto& [key, known] : known_) {
    if (known.graph != nullptr) cuda::destroy_graph(known.graph);
  }
  known_.clear();
}

void RepeatedWork::run(std::vector<int64_t> key, const std::function<void()>& work, const Stream& stream) {
  if (stream.device().kind != DeviceKind::cuda || stream.profile() != nullptr || refused_) return work();
  key.push_back(key_of(stream.scratch(0)));
  key.push_back(stream.arena().allocations());
  if (known_.size() >= kMostKeys && !known_.contains(key)) forget(stream);
  Known& known = known_[key];
  if (!known.seen) {  // memory grows, algorithms are chosen
    known.seen = true;
    return work();
  }
  if (known.graph == nullptr) {
    known.graph = cuda::capture(work, stream);
    refused_ = known.graph == nullptr;
    if (refused_) return work();
  }
  cuda::launch_graph(known.graph, stream);
}

}  // namespace gorgon
