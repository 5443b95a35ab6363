#include "trainer/run_source.h"

#include <fmt/format.h>

#include "trainer/memory_plan.h"
#include "trainer/overlapped_source.h"
#include "trainer/state_cache_source.h"

namespace gorgon {

std::unique_ptr<StateSource> source_of(const RunInputs& inputs, const Backbone& backbone) {
  const RunConfig& config = inputs.config;
  const SourceOptions options{config.heads.num_heads,
                              config.global_batch(),
                              config.per_device_train_batch_size,
                              config.shuffle,
                              static_cast<uint64_t>(config.seed),
                              inputs.ranks.rank(),
                              inputs.ranks.size(),
                              inputs.divided_heads ? &inputs.ranks.on(inputs.stream.device()) : nullptr};
  if (inputs.cache == nullptr) {
    std::unique_ptr<StateSource> online = online_source(backbone, inputs.train, options);
    if (!overlaps(config, inputs.stream.device().kind)) return online;
    const OverlapOptions overlap{config.resolved_max_steps(inputs.train.sequences()), config.global_batch(),
                                 working_memory_of_steps(config, backbone.config(), DeviceKind::cuda,
                                                         config.per_device_train_batch_size)};
    return overlapped_source(std::move(online), overlap, inputs.stream);
  }
  const auto make = config.order == RowOrder::rows ? row_order_source : cached_source;
  return make(*inputs.cache, inputs.train, options, config.compute());
}

bool can_overlap(const RunConfig& config, const ModelConfig& model, Device device, Console& console) {
  if (!overlaps(config, device.kind)) return false;
  const MemoryPlan plan = plan_memory(config, model, device.kind, config.per_device_train_batch_size);
  int64_t wanted = 0;
  for (const PlannedBuffer& buffer : plan.buffers) wanted += buffer.name == "backbone" ? 0 : buffer.bytes;
  const std::optional<int64_t> free = free_bytes(device);
  if (!free || *free >= wanted) return true;
  console.warn(
      fmt::format("overlap_backbone: off, since {:.1f} GB are wanted beside the model and {:.1f} GB are free",
                  static_cast<double>(wanted) / 1e9, static_cast<double>(*free) / 1e9));
  return false;
}

}  // namespace gorgon
