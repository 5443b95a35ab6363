#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "model/model_config.h"
#include "trainer/run_config.h"

namespace gorgon {

// What a training run will hold at once on its device, counted from shapes before anything is loaded: the
// same sums the parts allocate by. Not in it: the libraries' own memory, the page cache, the text.
struct PlannedBuffer {
  std::string name;
  int64_t bytes;
};
struct MemoryPlan {
  std::vector<PlannedBuffer> buffers;  // largest first
  int64_t total() const;
};
// What calls of the backbone borrow from the stream at once, in steps and evaluations: reserved beforehand,
// it is one block.
int64_t working_memory(const RunConfig& config, const ModelConfig& model, DeviceKind device,
                       int64_t micro_batch);
// The same of steps alone.
int64_t working_memory_of_steps(const RunConfig& config, const ModelConfig& model, DeviceKind device,
                                int64_t micro_batch);

// One process of a job of `size`; divided: parallel_heads: vocab.
struct PlannedRanks {
  int size = 1;
  bool divided = false;
};

// micro_batch: sequences that the backbone takes at a time. config.global_batch(): of all ranks.
MemoryPlan plan_memory(const RunConfig& config, const ModelConfig& model, DeviceKind device,
                       int64_t micro_batch, const PlannedRanks& ranks = {});

// What overlap_backbone holds beside the rest: the next step's states and a stream of its own; 0 where the
// key is off or changes nothing. Part of the plan.
int64_t plan_overlap_memory(const RunConfig& config, const ModelConfig& model, DeviceKind device,
                            int64_t micro_batch);
bool overlaps(const RunConfig& config, DeviceKind device);

// What of it each of `ranks` holds of whole heads: weights, gradients and its part of the optimizer states.
// outputs: N.
int64_t plan_heads_memory(const RunConfig& config, const ModelConfig& model, int64_t outputs, int ranks);

// MemAvailable of the machine, or what a GPU has left; nothing where nobody says.
std::optional<int64_t> free_bytes(Device device);

// Bytes on disk: a checkpoint, and all that the run directory keeps of them at once, the one being written
// included.
struct DiskPlan {
  int64_t checkpoint, most;
};
DiskPlan plan_disk(const RunConfig& config, const ModelConfig& model);

// Operations that training cannot do without: one token through the backbone, one row through all heads
// (forward, and gradients of the weights and of the features).
struct WorkPlan {
  double backbone_flop_per_token, heads_flop_per_row;
};
WorkPlan plan_work(const RunConfig& config, const ModelConfig& model);

}  // namespace gorgon
