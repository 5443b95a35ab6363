#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "data/dataset_file.h"
#include "data/state_cache.h"
#include "model/backbone.h"
#include "trainer/console.h"
#include "trainer/run_config.h"

namespace gorgon {

// What a cache of a run's training data is to hold, known before the backbone has run.
struct CachePlan {
  std::filesystem::path path;
  bool is_named = false;  // by --cache: a cache of something else is not replaced
  CacheLayout layout;
  std::vector<int64_t> sequence_begin;  // [shards + 1]: the sequences of each shard
};

// `type`: f32 or bf16. A shard has some `shard_bytes`, in whole batches of per_device_train_batch_size.
constexpr int64_t kShardBytes = 16 << 20;
CachePlan plan_cache(const RunConfig& config, const ModelWeights& weights, const Dataset& train, DType type,
                     int64_t shard_bytes = kShardBytes);

// How the backbone's weights are kept ("none", "nf4", "nf4-double", "int8"), in what tells derived files
// apart.
std::string quantisation_name(const RunConfig& config);

// Where a run's cache lies by default.
std::filesystem::path cache_file(const std::filesystem::path& prepared);

// `auto` becomes what is done: states are cached where they are read more than once (several epochs, or rows
// in an order of their own) and the disk has room for them; says why. Other values stay.
StateCache resolve_state_cache(const RunConfig& config, const CachePlan& plan, int64_t sequences,
                               Console& console);
// The type of its states for a resolved value; that of the computation for automatic and off.
DType cache_type(const RunConfig& config);

// The cache of a plan, opened when it is there and right, otherwise made: the backbone over all sequences,
// once. A damaged one is made again, and so is one that was made from something else, unless --cache named
// it: then Error(data) tells both fingerprints. Where the stream's stop point throws, finished shards stay.
std::unique_ptr<CacheReader> open_or_make_cache(const CachePlan& plan, const RunConfig& config,
                                                const Backbone& backbone, const Dataset& train,
                                                const Stream& stream, Console& console);

}  // namespace gorgon
