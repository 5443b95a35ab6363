#include "data/state_cache.h"

#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "data/file.h"
#include "data/file_lock.h"
#include "data/hdf5_file.h"
#include "tests/data/expect_error.h"
#include "tests/data/temporary_directory.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

// Three shards of 5, 0 and 7 rows.
CacheLayout example(DType type = DType::bf16) {
  return {type, 6, {0, 5, 5, 12}, {{"model", "aa"}, {"data", "bb"}}};
}

std::vector<int64_t> ids_of(const CacheLayout& layout, int64_t shard) {
  std::vector<int64_t> ids;
  for (int64_t i = layout.shard_begin[static_cast<size_t>(shard)];
       i < layout.shard_begin[static_cast<size_t>(shard) + 1]; ++i) {
    ids.push_back(3 * i + 2);
  }
  return ids;
}

std::vector<std::byte> states_of(const CacheLayout& layout, int64_t shard) {
  const int64_t begin = layout.shard_begin[static_cast<size_t>(shard)] * layout.row_bytes();
  const int64_t end = layout.shard_begin[static_cast<size_t>(shard) + 1] * layout.row_bytes();
  std::vector<std::byte> bytes;
  for (int64_t i = begin; i < end; ++i) bytes.push_back(static_cast<std::byte>(i * 37 % 251));
  return bytes;
}

void write_shards(CacheWriter& writer, const CacheLayout& layout, int64_t most = 100) {
  for (int64_t i = 0; i < std::min(most, layout.shards()); ++i) {
    if (!writer.has(i)) writer.write(i, ids_of(layout, i), states_of(layout, i));
  }
}

void write_cache(const fs::path& path, const CacheLayout& layout) {
  CacheWriter writer(path, layout);
  write_shards(writer, layout);
  writer.publish();
}

TEST(StateCache, ComesBackAndIsAnHdf5File) {
  const TemporaryDirectory folder;
  for (const DType type : {DType::bf16, DType::f32}) {
    const CacheLayout layout = example(type);
    write_cache(folder.path() / "cache.h5", layout);
    EXPECT_EQ(folder.entries(), 1u) << "the lock or the partial file is still there";
    const CacheReader reader(folder.path() / "cache.h5");
    EXPECT_EQ(reader.layout().identity, layout.identity);
    EXPECT_EQ(reader.layout().shard_begin, layout.shard_begin);
    std::vector<int64_t> ids = ids_of(layout, 0);
    for (const int64_t id : ids_of(layout, 2)) ids.push_back(id);
    EXPECT_EQ(reader.ids(), ids);
    std::vector<std::byte> rows(static_cast<size_t>(3 * layout.row_bytes()));
    reader.read(7, 3, rows.data());
    const auto expected = states_of(layout, 2);
    EXPECT_EQ(std::memcmp(rows.data(), expected.data() + 2 * layout.row_bytes(), rows.size()), 0);
    const hdf5::File file(folder.path() / "cache.h5", "");
    EXPECT_EQ(file.i64("id"), ids);
    EXPECT_EQ(file.attributes(), layout.identity);
    EXPECT_LE(static_cast<int64_t>(fs::file_size(folder.path() / "cache.h5")), cache_bytes(layout));
  }
}

TEST(StateCache, EveryFlippedBitAndEveryTruncationIsSeen) {
  const TemporaryDirectory folder;
  const fs::path path = folder.path() / "cache.h5";
  write_cache(path, example());
  const std::string whole = read_text(path, ExitCode::data);
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
    folder.write("cache.h5", damaged);
    ASSERT_THROW(CacheReader reader(path), Error) << "byte " << i;
  }
  for (size_t size = 0; size < whole.size(); size += 41) {
    folder.write("cache.h5", whole.substr(0, size));
    ASSERT_THROW(CacheReader reader(path), Error) << "size " << size;
  }
  folder.write("cache.h5", whole);
  const CacheReader reader(path);
}

TEST(StateCache, ErrorsSayWhatIsWrong) {
  const TemporaryDirectory folder;
  const fs::path path = folder.path() / "cache.h5";
  const auto refused = [&](const std::string& contents, const std::vector<std::string>& parts) {
    folder.write("cache.h5", contents);
    expect_error([&] { CacheReader reader(path); }, ExitCode::data, parts);
  };
  write_cache(path, example());
  const std::string whole = read_text(path, ExitCode::data);
  refused("\x89HDF\r\n\x1a\n", {"cache.h5", "a cache of gorgon", "gorgon cache CONFIG"});
  refused(whole.substr(0, whole.size() - 1), {"incomplete", "remove the file"});
  const size_t last = whole.size() - 1;  // of the last shard, as the file ends with the states
  std::string damaged = whole;
  damaged[last] = static_cast<char>(damaged[last] ^ 1);
  refused(damaged, {"shard 2", "SHA-256"});
  fs::remove(path);
  CacheWriter writer(path, example());
  write_shards(writer, example(), 1);
  refused(read_text(folder.path() / ".cache.h5.partial", ExitCode::data), {"incomplete"});
}

TEST(StateCache, FinishedShardsAreKeptAndTheRestIsMadeToTheSameBytes) {
  const TemporaryDirectory folder;
  const fs::path path = folder.path() / "cache.h5";
  const CacheLayout layout = example();
  write_cache(path, layout);
  const std::string whole = sha256_of_file(path, ExitCode::data);
  for (int64_t done = 0; done <= layout.shards(); ++done) {
    fs::remove(path);
    {
      CacheWriter writer(path, layout);  // ends like a killed one: nothing is cleaned up
      write_shards(writer, layout, done);
    }
    CacheWriter writer(path, layout);
    for (int64_t i = 0; i < layout.shards(); ++i) EXPECT_EQ(writer.has(i), i < done) << i << " of " << done;
    write_shards(writer, layout);
    writer.publish();
    EXPECT_EQ(sha256_of_file(path, ExitCode::data), whole);
  }
}

TEST(StateCache, ADamagedOrForeignPartialFileIsNotUsed) {
  const TemporaryDirectory folder;
  const fs::path path = folder.path() / "cache.h5", partial = folder.path() / ".cache.h5.partial";
  const CacheLayout layout = example();
  {
    CacheWriter writer(path, layout);
    write_shards(writer, layout, 2);
  }
  std::string text = read_text(partial, ExitCode::data);
  text[text.size() - 7 * 12 - 1] ^= 1;  // the last byte of shard 0
  folder.write(partial.filename().string(), text);
  {
    const CacheWriter writer(path, layout);
    EXPECT_FALSE(writer.has(0));
    EXPECT_TRUE(writer.has(1));
  }
  CacheLayout other = layout;
  other.identity["data"] = "cc";
  {
    const CacheWriter writer(path, other);
    EXPECT_FALSE(writer.has(1));
  }
  folder.write(partial.filename().string(), "something else");
  CacheWriter writer(path, layout);
  write_shards(writer, layout);
  writer.publish();
  const CacheReader reader(path);
}

TEST(StateCache, ASecondWriterIsToldWhoTheFirstIs) {
  const TemporaryDirectory folder;
  const fs::path path = folder.path() / "cache.h5";
  const CacheWriter first(path, example());
  expect_error([&] { CacheWriter second(path, example()); }, ExitCode::data,
               {"cache.h5", "process " + std::to_string(::getpid()), "wait for it"});
}

TEST(StateCache, ADiskWithoutRoomIsToldBeforehand) {
  const TemporaryDirectory folder;
  CacheLayout layout = example();
  layout.shard_begin = {0, int64_t{1} << 50};
  expect_error([&] { CacheWriter writer(folder.path() / "cache.h5", layout); }, ExitCode::resource,
               {"room for", "bytes free", "state_cache: off"});
  EXPECT_EQ(folder.entries(), 0u);
}

}  // namespace
}  // namespace gorgon
