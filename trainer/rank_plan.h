#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "kernels/device.h"
#include "model/model_config.h"
#include "trainer/parallel_heads.h"
#include "trainer/run_config.h"

namespace gorgon {

// What a job of `ranks` processes would take, in both modes of parallel_heads, before anything is loaded.
struct RankPlan {
  struct Mode {
    int64_t memory = 0;    // of a rank, bytes on its device
    int64_t received = 0;  // by a rank in a step, bytes
  };
  int ranks = 1;
  Mode replicate, vocab;
  ParallelHeads chosen = ParallelHeads::replicate;  // by auto
};
// config.global_batch(): of all ranks. free: bytes of each rank's device; nothing = not known, enough.
RankPlan plan_ranks(const RunConfig& config, const ModelConfig& model, DeviceKind device, int ranks,
                    const StepRows& step, std::optional<int64_t> free);
std::string rank_plan_table(const RankPlan& plan);  // lines

}  // namespace gorgon
