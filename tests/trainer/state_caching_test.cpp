// Rows from a cache beside rows from the backbone.
#include "trainer/state_caching.h"

#include <algorithm>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/file.h"
#include "kernels/error.h"
#include "tests/data/expect_error.h"
#include "tests/data/temporary_directory.h"
#include "trainer/state_cache_source.h"

namespace gorgon {
namespace {

template <typename T>
std::vector<T> values(const Tensor& tensor) {
  return {tensor.as<T>(), tensor.as<T>() + tensor.elements()};
}

class StateCaching : public testing::Test {
 protected:
  StateCaching() {
    config_.bf16 = false;
    config_.heads.num_heads = 3;
    config_.per_device_train_batch_size = 2;
    config_.state_cache = StateCache::f32;
    int32_t token = 5;
    train_.offsets = {0};
    for (const int64_t length : {9, 20, 3, 17, 2, 30, 11}) {
      for (int64_t i = 0; i < length; ++i) {
        token = (token * 29 + 11) % 90;
        train_.tokens.push_back(token);
        train_.labels.push_back(token % 3 == 0 ? kIgnoreIndex : token);
        train_.segments.push_back(0);
      }
      train_.offsets.push_back(static_cast<int64_t>(train_.tokens.size()));
    }
  }
  CachePlan plan(DType type = DType::f32) const {
    CachePlan made = plan_cache(config_, weights_, train_, type, 1024);
    made.path = folder_.path() / "cache.h5";
    return made;
  }
  std::unique_ptr<CacheReader> cache(const CachePlan& plan) {
    return open_or_make_cache(plan, config_, backbone_, train_, stream_, console_);
  }
  SourceOptions options(int heads = 3) const { return {heads, 3, 2, true, 7}; }

  const Stream stream_{{}, 2};
  const ModelWeights weights_ =
      load_model(std::string(GORGON_TEST_DATA) + "/tiny_models/llama_tied", DType::f32, stream_);
  const Backbone backbone_{weights_, DType::f32};
  RunConfig config_;
  Dataset train_;
  const TemporaryDirectory folder_;
  Console console_;
};

struct StepRows {
  StateRows rows;
  int64_t tokens = 0;
};
StepRows take(StateSource& source, const Stream& stream) {
  StepRows step;
  step.tokens = source.next(step.rows, stream);
  return step;
}

void expect_same_rows(const StepRows& a, const StepRows& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  ASSERT_EQ(a.rows.rows(), b.rows.rows());
  EXPECT_EQ(values<float>(a.rows.hidden), values<float>(b.rows.hidden));
  EXPECT_EQ(values<int32_t>(a.rows.row), values<int32_t>(b.rows.row));
  EXPECT_EQ(values<int32_t>(a.rows.targets), values<int32_t>(b.rows.targets));
  EXPECT_EQ(values<int64_t>(a.rows.id), values<int64_t>(b.rows.id));
}

TEST_F(StateCaching, InDocumentOrderStepsHaveTheBackbonesBits) {
  const CachePlan wanted = plan();
  EXPECT_GT(wanted.layout.shards(), 1);
  const auto reader = cache(wanted);
  for (const int heads : {3, 2}) {  // a cache for more heads serves fewer
    const auto online = online_source(backbone_, train_, options(heads));
    const auto cached = cached_source(*reader, train_, options(heads), DType::f32);
    ASSERT_EQ(cached->steps_per_epoch(), 3);
    LoaderState middle;
    for (int step = 0; step < 7; ++step) {  // more than two epochs
      if (step == 4) middle = cached->state();
      expect_same_rows(take(*online, stream_), take(*cached, stream_));
    }
    const auto again = cached_source(*reader, train_, options(heads), DType::f32);
    const auto other = online_source(backbone_, train_, options(heads));
    again->restore(middle);
    other->restore(middle);
    expect_same_rows(take(*other, stream_), take(*again, stream_));
  }
}

TEST_F(StateCaching, RowsInAnOrderOfTheirOwnAreAllThereOnce) {
  const auto reader = cache(plan());
  const auto source = row_order_source(*reader, train_, options(), DType::f32);
  std::vector<std::vector<int64_t>> epochs(2);
  LoaderState middle;
  std::vector<int64_t> behind_middle;
  int64_t tokens = 0;
  for (int step = 0; step < 6; ++step) {
    if (step == 4) middle = source->state();
    const StepRows part = take(*source, stream_);
    const auto ids = values<int64_t>(part.rows.id);
    if (step == 4) behind_middle = ids;
    EXPECT_NEAR(static_cast<double>(ids.size()), static_cast<double>(reader->ids().size()) / 3, 1.0);
    auto& epoch = epochs[static_cast<size_t>(step / 3)];
    epoch.insert(epoch.end(), ids.begin(), ids.end());
    tokens += part.tokens;
    for (int64_t i = 0; i < part.rows.rows(); ++i) {  // each id with its own state
      const auto at =
          std::lower_bound(reader->ids().begin(), reader->ids().end(), ids[static_cast<size_t>(i)]);
      std::vector<float> state(static_cast<size_t>(reader->layout().width));
      reader->read(at - reader->ids().begin(), 1, reinterpret_cast<std::byte*>(state.data()));
      ASSERT_EQ(std::memcmp(state.data(), part.rows.hidden.as<float>() + i * reader->layout().width,
                            state.size() * sizeof(float)),
                0);
    }
  }
  EXPECT_NE(epochs[0], epochs[1]);
  for (const auto& epoch : epochs) EXPECT_THAT(epoch, testing::UnorderedElementsAreArray(reader->ids()));
  EXPECT_EQ(tokens, 2 * std::ssize(train_.tokens));
  const auto again = row_order_source(*reader, train_, options(), DType::f32);
  again->restore(middle);
  EXPECT_EQ(values<int64_t>(take(*again, stream_).rows.id), behind_middle);
  expect_error([&] { again->restore({0, 3, 7}); }, ExitCode::checkpoint, {"loader", "another data set"});
}

TEST_F(StateCaching, StatesMayBeRoundedOnDisk) {
  const auto reader = cache(plan(DType::bf16));
  const auto rounded = take(*cached_source(*reader, train_, options(), DType::f32), stream_);
  const auto exact = take(*online_source(backbone_, train_, options()), stream_);
  const auto a = values<float>(rounded.rows.hidden), b = values<float>(exact.rows.hidden);
  ASSERT_EQ(a.size(), b.size());
  EXPECT_NE(a, b);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_EQ(a[i], static_cast<float>(bf16(b[i])));
}

TEST_F(StateCaching, WhatIsThereIsUsedReplacedOrRefused) {
  const CachePlan wanted = plan();
  cache(wanted);
  const auto first_made = std::filesystem::last_write_time(wanted.path);
  cache(wanted);
  EXPECT_EQ(std::filesystem::last_write_time(wanted.path), first_made) << "made twice";
  CachePlan other = wanted;
  other.layout.identity["model"] = "another";
  other.is_named = true;
  expect_error([&] { cache(other); }, ExitCode::data,
               {"cache.h5", "model", "another", wanted.layout.identity.at("model").substr(0, 32), "--cache"});
  other.layout = wanted.layout;
  other.layout.type = DType::bf16;
  expect_error([&] { cache(other); }, ExitCode::data, {"type: expected bf16, found f32"});
  std::string damaged = read_text(wanted.path, ExitCode::data);
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  folder_.write("cache.h5", damaged);
  EXPECT_EQ(cache(wanted)->layout().states(), wanted.layout.states());  // made again
  other.is_named = false;
  EXPECT_EQ(cache(other)->layout().type, DType::bf16);  // so is the run's own of something else
  folder_.write("cache.h5", "the user's file");
  expect_error([&] { cache(wanted); }, ExitCode::data, {"another file", "--cache"});
  EXPECT_EQ(read_text(wanted.path, ExitCode::data), "the user's file");
}

TEST_F(StateCaching, AStoppedCacheGoesOn) {
  const CachePlan wanted = plan();
  cache(wanted);
  const std::string whole = sha256_of_file(wanted.path, ExitCode::data);
  std::filesystem::remove(wanted.path);
  int asked = 0;
  StreamOptions stops;
  stops.threads = 2;
  stops.stop_wanted = [&asked] { return ++asked > 4; };
  const Stream stream(Device{}, stops);
  EXPECT_THROW(open_or_make_cache(wanted, config_, backbone_, train_, stream, console_), Stopped);
  EXPECT_FALSE(std::filesystem::exists(wanted.path));
  {
    const CacheWriter writer(wanted.path, wanted.layout);
    EXPECT_TRUE(writer.has(0)) << "stopped too soon for the test";
    EXPECT_FALSE(writer.has(wanted.layout.shards() - 1));
  }
  cache(wanted);
  EXPECT_EQ(sha256_of_file(wanted.path, ExitCode::data), whole);
}

TEST_F(StateCaching, AutoCachesWhatIsReadMoreThanOnce) {
  config_.state_cache = StateCache::automatic;
  CachePlan wanted = plan();
  const auto resolved = [&] { return resolve_state_cache(config_, wanted, train_.sequences(), console_); };
  config_.num_train_epochs = 1;
  EXPECT_EQ(resolved(), StateCache::off);
  config_.order = RowOrder::rows;
  EXPECT_EQ(resolved(), StateCache::f32);
  config_.order = RowOrder::document;
  config_.num_train_epochs = 2;
  EXPECT_EQ(resolved(), StateCache::f32);
  config_.bf16 = true;
  EXPECT_EQ(resolved(), StateCache::bf16);
  wanted.layout.shard_begin.back() = int64_t{1} << 50;
  EXPECT_EQ(resolved(), StateCache::off);
  config_.state_cache = StateCache::bf16;
  EXPECT_EQ(resolved(), StateCache::bf16);  // as asked: making it will tell
}

}  // namespace
}  // namespace gorgon
