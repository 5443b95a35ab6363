#include "trainer/state_caching.h"

#include <algorithm>
#include <cstring>
#include <system_error>

#include <fmt/format.h>

#include "kernels/convert.h"
#include "kernels/error.h"
#include "trainer/data_sets.h"
#include "trainer/state_source.h"

namespace gorgon {

namespace {

namespace fs = std::filesystem;

constexpr const char* kHeadsKey = "heads";  // a cache for more heads has the rows of fewer
constexpr double kMegabyte = 1e6;

int64_t free_bytes(const fs::path& path) {
  std::error_code error;
  const fs::path folder = path.parent_path().empty() ? "." : path.parent_path();
  const fs::space_info space = fs::space(folder, error);
  return error ? -1 : static_cast<int64_t>(space.available);
}

std::string size_text(const CachePlan& plan) {
  const int64_t room = free_bytes(plan.path);
  return fmt::format(
      "{} states, {:.1f} MB{}", plan.layout.states(),
      static_cast<double>(cache_bytes(plan.layout)) / kMegabyte,
      room < 0 ? "" : fmt::format(" of {:.1f} MB free", static_cast<double>(room) / kMegabyte));
}

// "" where `found` has what the plan asks for, else the first difference.
std::string difference(const CacheLayout& found, const CacheLayout& wanted) {
  if (found.type != wanted.type) {
    return fmt::format("type: expected {}, found {}", name(wanted.type), name(found.type));
  }
  if (found.width != wanted.width) {
    return fmt::format("width: expected {}, found {}", wanted.width, found.width);
  }
  std::map<std::string, std::string> fewer = wanted.identity;
  const auto heads = found.identity.find(kHeadsKey);
  if (heads != found.identity.end() && heads->second.size() < 4 &&
      std::atoi(heads->second.c_str()) > std::atoi(fewer[kHeadsKey].c_str())) {
    fewer.erase(kHeadsKey);
  }
  return dataset_difference(found.identity, fewer);
}

// States of one shard on the host, in the cache's type.
struct Shard {
  std::vector<int64_t> ids;
  std::vector<std::byte> states;
};

void append(const StateRows& rows, DType type, Shard& shard) {
  if (rows.rows() == 0) return;
  const Tensor& ids = rows.id;
  shard.ids.insert(shard.ids.end(), ids.as<int64_t>(), ids.as<int64_t>() + ids.elements());
  Tensor states = rows.hidden.to(Device{});
  if (states.type() != type) {
    Tensor converted(type, states.shape());
    convert(states.view(), converted.view(), Stream({}, 1));
    states = std::move(converted);
  }
  shard.states.insert(shard.states.end(), states.data(), states.data() + states.bytes());
}

void make_cache(const CachePlan& plan, const RunConfig& config, const Backbone& backbone,
                const Dataset& train, const Stream& stream, Console& console) {
  CacheWriter writer(plan.path, plan.layout);
  console.info(fmt::format("{}: caches {}", plan.path.string(), size_text(plan)));
  Progress progress(console, "cache", train.sequences());
  const int64_t batch = config.per_device_train_batch_size;
  for (int64_t i = 0; i < plan.layout.shards(); ++i) {
    const int64_t end = plan.sequence_begin[static_cast<size_t>(i) + 1];
    Shard shard;
    for (int64_t at = plan.sequence_begin[static_cast<size_t>(i)]; at < end && !writer.has(i); at += batch) {
      std::vector<int64_t> which;
      for (int64_t s = at; s < std::min(at + batch, end); ++s) which.push_back(s);
      append(forward_state_rows(backbone, train.gather(which), config.heads.num_heads, batch, stream),
             plan.layout.type, shard);
      progress.update(which.back() + 1, "");
    }
    if (!writer.has(i)) writer.write(i, shard.ids, shard.states);
    progress.update(end, "");
  }
  writer.publish();
}

std::unique_ptr<CacheReader> open_checked(const fs::path& path, Console& console) {
  std::unique_ptr<Progress> progress;
  return std::make_unique<CacheReader>(path, [&](int64_t done, int64_t total) {
    constexpr int64_t kWorthABar = 1 << 30;
    if (total < kWorthABar) return;
    if (!progress) progress = std::make_unique<Progress>(console, "check MB", total >> 20);
    progress->update(done >> 20, "");
  });
}

// The cache that is there, when it is the plan's; nullptr when it has to be made.
std::unique_ptr<CacheReader> open_if_right(const CachePlan& plan, Console& console) {
  if (!fs::exists(plan.path)) return nullptr;
  if (!is_state_cache(plan.path)) {
    fail(ExitCode::data, {plan.path.string(), "", "a cache of gorgon", "another file",
                          "remove it or name another place with --cache"});
  }
  std::unique_ptr<CacheReader> reader;
  try {
    reader = open_checked(plan.path, console);
  } catch (const Error& error) {
    if (error.code() != ExitCode::data) throw;
    console.warn(fmt::format("made again: {}", error.what()));
    return nullptr;
  }
  const std::string other = difference(reader->layout(), plan.layout);
  if (other.empty()) {
    console.info(fmt::format("{}: {} (up to date)", plan.path.string(), size_text(plan)));
    return reader;
  }
  if (plan.is_named) {
    fail(ExitCode::data, {plan.path.string(), "", "a cache of this model and data", "another, " + other,
                          "remove it or name another place with --cache"});
  }
  console.info(fmt::format("{}: made again ({})", plan.path.string(), other));
  return nullptr;
}

}  // namespace

std::string quantisation_name(const RunConfig& config) {
  if (config.fp8) return "fp8";
  if (config.load_in_8bit) return "int8";
  if (!config.load_in_4bit) return "none";
  return config.bnb_4bit_use_double_quant ? "nf4-double" : "nf4";
}

CachePlan plan_cache(const RunConfig& config, const ModelWeights& weights, const Dataset& train, DType type,
                     int64_t shard_bytes) {
  CachePlan plan;
  CacheLayout& layout = plan.layout;
  layout.type = type;
  layout.width = weights.config.hidden_size;
  layout.identity = {{"model", weights.fingerprint},
                     {"data", content_fingerprint(train)},
                     {kHeadsKey, std::to_string(config.heads.num_heads)},
                     {"compute", std::string(name(config.compute()))},
                     {"quantisation", quantisation_name(config)}};
  if (const auto tokenizer = train.attributes.find("tokenizer_sha256"); tokenizer != train.attributes.end()) {
    layout.identity["tokenizer"] = tokenizer->second;
  }
  constexpr int64_t kMostShards = 4096;
  const int64_t all = std::ssize(train.tokens) * layout.row_bytes();
  const int64_t wanted = std::max(shard_bytes, all / kMostShards);
  layout.shard_begin = {0};
  plan.sequence_begin = {0};
  int64_t rows = 0;
  const int64_t batch = config.per_device_train_batch_size, count = train.sequences();
  for (int64_t s = 0; s < count; ++s) {
    rows += std::ssize(supervised_rows(train.gather({s}), config.heads.num_heads).id);
    const bool is_full = (rows - layout.shard_begin.back()) * layout.row_bytes() >= wanted;
    if (s + 1 < count && !(is_full && (s + 1) % batch == 0)) continue;
    layout.shard_begin.push_back(rows);
    plan.sequence_begin.push_back(s + 1);
  }
  return plan;
}

fs::path cache_file(const fs::path& prepared) {
  return prepared / "cache.h5";
}

StateCache resolve_state_cache(const RunConfig& config, const CachePlan& plan, int64_t sequences,
                               Console& console) {
  if (config.state_cache != StateCache::automatic) return config.state_cache;
  const StateCache cached = config.bf16 ? StateCache::bf16 : StateCache::f32;
  if (config.order == RowOrder::rows) return cached;
  if (plan.layout.states() == 0 ||
      config.resolved_max_steps(sequences) <= config.steps_per_epoch(sequences)) {
    return StateCache::off;  // every state is read once
  }
  const int64_t room = free_bytes(plan.path);
  if (fs::exists(plan.path) || room < 0 || cache_bytes(plan.layout) < room - room / 10) return cached;
  console.info("state_cache: off, the disk has no room for " + size_text(plan) +
               "; the backbone runs again in every epoch");
  return StateCache::off;
}

DType cache_type(const RunConfig& config) {
  if (config.state_cache == StateCache::f32) return DType::f32;
  return config.state_cache == StateCache::bf16 ? DType::bf16 : config.compute();
}

std::unique_ptr<CacheReader> open_or_make_cache(const CachePlan& plan, const RunConfig& config,
                                                const Backbone& backbone, const Dataset& train,
                                                const Stream& stream, Console& console) {
  if (plan.layout.states() == 0) {
    fail(ExitCode::data, {plan.path.string(), "", "supervised tokens to cache states for", "none",
                          "set state_cache: off, or check the data"});
  }
  if (auto reader = open_if_right(plan, console)) return reader;
  make_cache(plan, config, backbone, train, stream, console);
  return open_checked(plan.path, console);
}

}  // namespace gorgon
