// Whole runs from cached states, as real processes.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "data/file_lock.h"
#include "tests/data/temporary_directory.h"
#include "tests/trainer/program.h"
#include "tests/trainer/run_comparison.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/checkpoint.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class CachedRun : public ::testing::Test {
 protected:
  CachedRun() { write_tiny_run(folder_.path()); }
  fs::path run() const { return folder_.path() / "run"; }
  ProgramResult gorgon(const std::string& command, const std::vector<std::string>& sets,
                       const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{command, (folder_.path() / "run.yaml").string()};
    for (const std::string& set : sets) {
      arguments.push_back("--set");
      arguments.push_back(set);
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_program(arguments);
  }

  const TemporaryDirectory folder_;
};

// f32 states do not depend on the batch; every step of a run over several epochs is that of the online run.
TEST_F(CachedRun, EqualsTheOnlineRun) {
  const std::vector<std::string> sets{"bf16=false", "max_steps=24", "save_steps=0", "eval_steps=12"};
  const auto with = [&](const std::string& cache) {
    std::vector<std::string> all = sets;
    all.push_back("state_cache=" + cache);
    const ProgramResult result = gorgon("train", all);
    EXPECT_EQ(result.status, 0) << result.err;
    return result.err;
  };
  EXPECT_THAT(with("off"), testing::Not(HasSubstr("cache.h5")));
  fs::rename(run(), folder_.path() / "online");
  EXPECT_THAT(with("auto"), HasSubstr("prepared/cache.h5: caches"));
  EXPECT_EQ(metrics_of(run()), metrics_of(folder_.path() / "online"));
  EXPECT_EQ(file_text(run() / "medusa_heads.safetensors"),
            file_text(folder_.path() / "online" / "medusa_heads.safetensors"));
  EXPECT_THAT(file_text(run() / "config.yaml"), HasSubstr("state_cache: f32"));
}

TEST_F(CachedRun, GoesOnToTheSameBitsInEitherOrder) {
  for (const std::string order : {"document", "rows"}) {
    const std::vector<std::string> sets{"order=" + order, "state_cache=bf16"};
    ProgramResult result = gorgon("train", sets);
    ASSERT_EQ(result.status, 0) << result.err;
    const fs::path whole = folder_.path() / ("whole-" + order);
    fs::rename(run(), whole);
    fs::copy(whole, run(), fs::copy_options::recursive);
    fs::remove(run() / "medusa_heads.safetensors");
    for (const CheckpointName& checkpoint : list_checkpoints(run())) {
      if (checkpoint.step > 3) fs::remove_all(checkpoint.path);
    }
    result = gorgon("train", sets);
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(result.err, HasSubstr("resumes behind step 3 of 8"));
    EXPECT_THAT(result.err, HasSubstr("up to date"));
    expect_same_run(run(), whole, 8);
    fs::remove_all(run());
  }
}

TEST_F(CachedRun, TheCommandMakesWhatTrainReads) {
  const std::string shared = (folder_.path() / "shared.h5").string();
  ProgramResult result = gorgon("cache", {}, {"--cache", shared});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(shared));
  result = gorgon("train", {"order=rows"}, {"--cache", shared});
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("shared.h5"));
  EXPECT_THAT(result.err, HasSubstr("up to date"));
  EXPECT_FALSE(fs::exists(run() / "prepared" / "cache.h5"));
  // Another model's states under a name that was given are left alone.
  result = gorgon("cache", {"bf16=false"}, {"--cache", shared});
  EXPECT_EQ(result.status, 4);
  EXPECT_THAT(result.err, HasSubstr("shared.h5: expected a cache of this model and data, found another, "
                                    "type: expected f32, found bf16"));
  std::ofstream(folder_.path() / "train.jsonl") << tiny_chats(3, 60);
  result = gorgon("cache", {}, {"--cache", shared});
  EXPECT_EQ(result.status, 4);
  EXPECT_THAT(result.err, ContainsRegex("found another, data: expected '[0-9a-f.]+', found '[0-9a-f.]+'"));
  result =
      gorgon("train", {"order=rows", "state_cache=off", "output_dir=" + (folder_.path() / "b").string()});
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, HasSubstr("order: expected a value that fits state_cache: off"));
}

// As another process writes it: it is told who that is, and the file that is there is left alone.
TEST_F(CachedRun, ASecondWriterIsToldWhoTheFirstIs) {
  const auto held = FileLock::try_take(folder_.path() / ".shared.h5.lock");
  ASSERT_TRUE(held);
  const ProgramResult result = gorgon("cache", {}, {"--cache", (folder_.path() / "shared.h5").string()});
  EXPECT_EQ(result.status, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("shared.h5: expected a cache that nobody else writes, found one being "
                                    "written by process " +
                                    std::to_string(::getpid()) + " on "));
  EXPECT_FALSE(fs::exists(folder_.path() / "shared.h5"));
}

}  // namespace
}  // namespace gorgon
