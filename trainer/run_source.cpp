#include "trainer/run_source.h"

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
  if (inputs.cache == nullptr) return online_source(backbone, inputs.train, options);
  const auto make = config.order == RowOrder::rows ? row_order_source : cached_source;
  return make(*inputs.cache, inputs.train, options, config.compute());
}

}  // namespace gorgon
