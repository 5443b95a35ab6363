// A cache of states whose writing dies or meets a full disk at any call: under its name stands nothing or the
// whole file, and the next writer makes the same bytes from what is left.
#include <functional>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/file.h"
#include "data/state_cache.h"
#include "kernels/error.h"
#include "tests/data/temporary_directory.h"
#include "tests/trainer/io_faults.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

constexpr int kLeastCalls = 10;  // three shards of three writes each, and the name

void write_cache(const fs::path& path) {
  const CacheLayout layout{DType::f32, 4, {0, 3, 5, 9}, {{"model", "aa"}}};
  CacheWriter writer(path, layout);
  for (int64_t shard = 0; shard < layout.shards(); ++shard) {
    if (writer.has(shard)) continue;
    const int64_t begin = layout.shard_begin[static_cast<size_t>(shard)];
    const int64_t end = layout.shard_begin[static_cast<size_t>(shard) + 1];
    std::vector<int64_t> ids;
    std::vector<float> states;
    for (int64_t i = begin; i < end; ++i) {
      ids.push_back(2 * i);
      for (int j = 0; j < 4; ++j) states.push_back(static_cast<float>(i) + 0.25f * static_cast<float>(j));
    }
    writer.write(shard, ids, std::as_bytes(std::span(states)));
  }
  writer.publish();
}

std::string whole_cache() {
  const TemporaryDirectory folder;
  write_cache(folder.path() / "cache.h5");
  return read_text(folder.path() / "cache.h5", ExitCode::data);
}

void expect_nothing_or_whole_and_goes_on(const fs::path& path, bool written, const std::string& whole) {
  EXPECT_TRUE(fs::exists(path) || !written);
  if (!fs::exists(path)) write_cache(path);
  EXPECT_EQ(read_text(path, ExitCode::data), whole);
  EXPECT_EQ(CacheReader(path).layout().states(), 9);
}

// Writes with a fault at a call, in a child: HDF5 loses memory when a write fails, and a death ends a
// process. Returns the child's exit status: 0, kDeath, or that of the error.
int status_of_writing(const fs::path& path, const std::function<void()>& set_fault) {
  const pid_t child = ::fork();
  if (child == 0) {
    set_fault();
    try {
      write_cache(path);
    } catch (const Error& failed) {
      ::_exit(static_cast<int>(failed.code()));
    } catch (const fs::filesystem_error&) {
      ::_exit(static_cast<int>(ExitCode::resource));  // so does the program
    }
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

TEST(StateCacheFaults, DeathAtAnyCall) {
  const std::string whole = whole_cache();
  int k = 0;
  for (bool survived = false; !survived; ++k) {
    SCOPED_TRACE(k);
    const TemporaryDirectory folder;
    const fs::path path = folder.path() / "cache.h5";
    const int status = status_of_writing(path, [&] { io_faults::die_at(k); });
    survived = status == 0;
    ASSERT_EQ(status, survived ? 0 : io_faults::kDeath);
    expect_nothing_or_whole_and_goes_on(path, survived, whole);
  }
  EXPECT_GE(k, kLeastCalls);
}

TEST(StateCacheFaults, AFullOrFailingDiskAtAnyCall) {
  const std::string whole = whole_cache();
  for (const int error : {ENOSPC, EIO}) {
    int k = 0;
    for (bool written = false; !written; ++k) {
      SCOPED_TRACE(k);
      const TemporaryDirectory folder;
      const fs::path path = folder.path() / "cache.h5";
      const int status = status_of_writing(path, [&] { io_faults::fail_at(k, error); });
      written = status == 0;
      ASSERT_EQ(status, written ? 0 : static_cast<int>(ExitCode::resource));
      expect_nothing_or_whole_and_goes_on(path, written, whole);
    }
    EXPECT_GE(k, kLeastCalls);
  }
}

}  // namespace
}  // namespace gorgon
