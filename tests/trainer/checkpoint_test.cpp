#include "trainer/checkpoint.h"

#include <cstdlib>
#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/file.h"
#include "kernels/error.h"
#include "tests/data/expect_error.h"
#include "tests/data/temporary_directory.h"
#include "tests/trainer/io_faults.h"
#include "trainer/run_directory.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TrainingState a_state(int64_t step) {
  TrainingState state;
  state.step = step;
  state.adam_steps = step - 1;
  state.loader = {2, 7, 0xfedcba9876543210u};
  state.seed = 42;
  state.metric = "eval_loss";
  state.best_metric = 0.1 + static_cast<double>(step);
  state.best_step = 5;
  state.evaluated_step = 6;
  state.stale_evaluations = 1;
  state.nonfinite_steps = 2;
  state.stopped_early = true;
  state.metrics_bytes = 100;
  state.event_bytes = 200;
  state.config = "model_path: \"m\"\n";
  state.model_fingerprint = "abc";
  state.data_fingerprint = "def";
  return state;
}

void save(const fs::path& run, int64_t step) {
  save_checkpoint(run, a_state(step), [&](const fs::path& to) {
    write_atomically(to / "heads", "weights of step " + std::to_string(step));
    write_atomically(to / "optimizer", std::string(1000, static_cast<char>('a' + step)));
  });
}

std::vector<int64_t> steps_in(const fs::path& run) {
  std::vector<int64_t> steps;
  for (const CheckpointName& checkpoint : list_checkpoints(run)) steps.push_back(checkpoint.step);
  return steps;
}

// Newest whole checkpoint's name, and how many were passed over.
std::pair<std::string, int> newest(const fs::path& run) {
  int warnings = 0;
  const fs::path found = newest_checkpoint(run, [&](const std::string&) { ++warnings; });
  return {found.filename().string(), warnings};
}

TEST(Checkpoint, StateComesBackWhole) {
  const TemporaryDirectory run;
  save(run.path(), 12);
  const TrainingState state = load_training_state(run.path() / "checkpoint-12");
  EXPECT_EQ(to_json(state), to_json(a_state(12)));
  EXPECT_EQ(state.loader.key, 0xfedcba9876543210u);
  EXPECT_EQ(state.best_metric, a_state(12).best_metric);
  EXPECT_TRUE(state.stopped_early);
  verify_checkpoint(run.path() / "checkpoint-12");
}

TEST(Checkpoint, NewestGoesByStepNotByTime) {
  const TemporaryDirectory run;
  EXPECT_EQ(newest(run.path()).first, "");
  save(run.path(), 10);
  save(run.path(), 9);
  fs::create_directory(run.path() / "checkpoint-x");
  fs::create_directory(run.path() / "checkpoint-11b");
  EXPECT_EQ(newest(run.path()), std::make_pair(std::string("checkpoint-10"), 0));
}

// Somebody's own pointers: a copy of an earlier checkpoint under a later name, links that lead to one or
// nowhere.
TEST(Checkpoint, WhatOnlyHasALaterNameIsNotTheNewest) {
  const TemporaryDirectory run;
  save(run.path(), 1);
  save(run.path(), 2);
  fs::create_directory_symlink("checkpoint-1", run.path() / "latest");
  fs::create_directory_symlink("checkpoint-1", run.path() / "checkpoint-latest");
  EXPECT_EQ(newest(run.path()), std::make_pair(std::string("checkpoint-2"), 0));
  fs::copy(run.path() / "checkpoint-1", run.path() / "checkpoint-3");
  fs::create_directory_symlink("checkpoint-1", run.path() / "checkpoint-4");
  fs::create_directory_symlink("nowhere", run.path() / "checkpoint-5");
  std::string said;
  EXPECT_EQ(newest_checkpoint(run.path(), [&](const std::string& line) { said += line + "\n"; }),
            run.path() / "checkpoint-2");
  EXPECT_THAT(said, HasSubstr("checkpoint-3: expected the checkpoint of step 3, found that of step 1\n"));
  EXPECT_THAT(said, HasSubstr("checkpoint-4: expected the checkpoint of step 4, found that of step 1\n"));
}

TEST(Checkpoint, AnyDamageMakesThePreviousOneCount) {
  const TemporaryDirectory run;
  save(run.path(), 1);
  save(run.path(), 2);
  const fs::path newer = run.path() / "checkpoint-2";
  for (const char* name : {"heads", "optimizer", "state.json", "manifest.json"}) {
    const fs::path file = newer / name;
    const std::string whole = read_text(file, ExitCode::data);
    const auto expect_previous = [&](const std::string& what) {
      EXPECT_EQ(newest(run.path()), std::make_pair(std::string("checkpoint-1"), 1)) << name << ": " << what;
    };
    for (const size_t keep : {size_t{0}, size_t{1}, whole.size() / 2, whole.size() - 1}) {
      std::ofstream(file, std::ios::binary) << whole.substr(0, keep);
      expect_previous("cut to " + std::to_string(keep));
    }
    std::ofstream(file, std::ios::binary) << whole + "x";
    expect_previous("one byte more");
    std::ofstream(file, std::ios::binary) << std::string(whole.size(), '\0');
    expect_previous("zeros");
    std::mt19937 random(7);  // NOLINT: the same flips in every run of the test
    for (int i = 0; i < 250; ++i) {
      std::string flipped = whole;
      flipped[random() % whole.size()] ^= static_cast<char>(1u << random() % 8);
      std::ofstream(file, std::ios::binary) << flipped;
      expect_previous("a flipped bit");
    }
    fs::remove(file);
    expect_previous("removed");
    std::ofstream(file, std::ios::binary) << whole;
    EXPECT_EQ(newest(run.path()).first, "checkpoint-2");
  }
  std::ofstream(newer / "stranger") << "x";
  EXPECT_EQ(newest(run.path()).first, "checkpoint-1");
}

TEST(Checkpoint, EveryBitFlipIsSeen) {
  const TemporaryDirectory run;
  save(run.path(), 1);
  const fs::path checkpoint = run.path() / "checkpoint-1";
  size_t flips = 0;
  for (const char* name : {"heads", "state.json", "manifest.json"}) {
    const std::string whole = read_text(checkpoint / name, ExitCode::data);
    std::fstream file(checkpoint / name, std::ios::in | std::ios::out | std::ios::binary);
    const auto put = [&](size_t byte, int value) {
      file.seekp(static_cast<std::streamoff>(byte)).put(static_cast<char>(value)).flush();
    };
    for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
      put(bit / 8, whole[bit / 8] ^ (1 << bit % 8));
      EXPECT_THROW(verify_checkpoint(checkpoint), Error) << name << " bit " << bit;
      put(bit / 8, whole[bit / 8]);
      ++flips;
    }
  }
  EXPECT_GT(flips, 5000u);
  verify_checkpoint(checkpoint);
}

// A checkpoint of 64 KiB: a sample of its bits, or as many as GORGON_TEST_FLIPS says (524288 are all).
TEST(Checkpoint, FlipsAnywhereIn64KiBAreSeen) {
  constexpr size_t kBytes = 65536;
  const char* wanted = std::getenv("GORGON_TEST_FLIPS");  // NOLINT: no other thread is there
  const size_t most = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 4096;
  ASSERT_GT(most, 0u);
  const TemporaryDirectory run;
  const fs::path checkpoint = run.path() / "checkpoint-1";
  const auto save_with = [&](size_t bytes) {
    save_checkpoint(run.path(), a_state(1),
                    [&](const fs::path& to) { write_atomically(to / "heads", std::string(bytes, 'h')); });
    size_t all = 0;
    for (const auto& file : fs::directory_iterator(checkpoint)) all += file.file_size();
    return all;
  };
  ASSERT_EQ(save_with(10000 + kBytes - save_with(10000)), kBytes);
  const size_t stride = std::max<size_t>(1, kBytes * 8 / most);
  size_t bit = 0, flips = 0;
  for (const char* name : {"heads", "state.json", "manifest.json"}) {
    const std::string whole = read_text(checkpoint / name, ExitCode::data);
    std::fstream file(checkpoint / name, std::ios::in | std::ios::out | std::ios::binary);
    const auto put = [&](size_t byte, int value) {
      file.seekp(static_cast<std::streamoff>(byte)).put(static_cast<char>(value)).flush();
    };
    for (; bit < whole.size() * 8; bit += stride, ++flips) {
      put(bit / 8, whole[bit / 8] ^ (1 << bit % 8));
      ASSERT_THROW(verify_checkpoint(checkpoint), Error) << name << " bit " << bit;
      put(bit / 8, whole[bit / 8]);
    }
    bit -= whole.size() * 8;
  }
  EXPECT_GE(flips, most);
  verify_checkpoint(checkpoint);
}

TEST(Checkpoint, ErrorsNameFileAndSums) {
  const TemporaryDirectory run;
  save(run.path(), 1);
  const fs::path heads = run.path() / "checkpoint-1" / "heads";
  const std::string sum = sha256_of_file(heads, ExitCode::data);
  std::ofstream(heads, std::ios::binary) << "Weights of step 1";
  EXPECT_THAT(
      error_of(ExitCode::checkpoint, [&] { verify_checkpoint(run.path() / "checkpoint-1"); }),
      AllOf(HasSubstr(heads.string()), HasSubstr(sum), HasSubstr(sha256_of_file(heads, ExitCode::data))));
  EXPECT_THAT(error_of(ExitCode::checkpoint, [&] { newest(run.path()); }),
              AllOf(HasSubstr("only damaged ones: checkpoint-1"), HasSubstr("--force")));
}

TEST(Checkpoint, NewerFormatNamesBothVersions) {
  const TemporaryDirectory run;
  save(run.path(), 1);
  const fs::path manifest = run.path() / "checkpoint-1" / "manifest.json";
  std::string text = read_text(manifest, ExitCode::data);
  text.replace(text.find("\"format\": 1"), 11, "\"format\": 9");
  std::ofstream(manifest, std::ios::binary) << text;
  EXPECT_THAT(error_of(ExitCode::checkpoint, [&] { verify_checkpoint(run.path() / "checkpoint-1"); }),
              AllOf(HasSubstr("at most 1"), HasSubstr("found 9")));
}

TEST(Checkpoint, PruneKeepsBestAndTwoNewest) {
  const TemporaryDirectory run;
  for (int64_t step = 1; step <= 6; ++step) save(run.path(), step);
  prune_checkpoints(run.path(), 0, 0);
  EXPECT_EQ(steps_in(run.path()).size(), 6u);
  prune_checkpoints(run.path(), 4, 1);
  EXPECT_THAT(steps_in(run.path()), ElementsAre(6, 5, 4, 1));
  prune_checkpoints(run.path(), 1, 4);
  EXPECT_THAT(steps_in(run.path()), ElementsAre(6, 5, 4));
  prune_checkpoints(run.path(), 1, 6);
  EXPECT_THAT(steps_in(run.path()), ElementsAre(6, 5));
  EXPECT_THAT(remove_leftovers(run.path()), IsEmpty());
}

TEST(Checkpoint, LeftoversAreRemoved) {
  const TemporaryDirectory run;
  save(run.path(), 1);
  fs::create_directory(run.path() / ".checkpoint-2.tmp");
  std::ofstream(run.path() / ".checkpoint-2.tmp" / "heads") << "x";
  EXPECT_THAT(remove_leftovers(run.path()), ElementsAre(".checkpoint-2.tmp"));
  EXPECT_THAT(steps_in(run.path()), ElementsAre(1));
}

// Saves step 3 over 1 and 2 and prunes, dying at the k-th call that changes the disk, for every k there is.
TEST(CheckpointFaults, DeathAtEveryCallLeavesAWholeNewestOne) {
  int k = 0;
  for (bool survived = false; !survived; ++k) {
    const TemporaryDirectory run;
    save(run.path(), 1);
    save(run.path(), 2);
    const pid_t child = ::fork();
    if (child == 0) {
      io_faults::die_at(k);
      save(run.path(), 3);
      prune_checkpoints(run.path(), 2, 0);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    survived = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    ASSERT_TRUE(survived || (WIFEXITED(status) && WEXITSTATUS(status) == io_faults::kDeath)) << status;
    const auto [name, warnings] = newest(run.path());
    EXPECT_TRUE(name == "checkpoint-2" || name == "checkpoint-3") << k;
    EXPECT_EQ(warnings, 0) << "a half-written checkpoint under its final name at call " << k;
    remove_leftovers(run.path());
    save(run.path(), 4);
    EXPECT_EQ(newest(run.path()).first, "checkpoint-4");
  }
  EXPECT_GT(k, 15);  // writes, syncs and renames of four files, the directory, and the prune
}

// The only checkpoint there is, saved again for the same step: at no call is there none.
TEST(CheckpointFaults, DeathWhileTheOnlyOneIsReplacedLeavesOne) {
  int k = 0;
  for (bool survived = false; !survived; ++k) {
    const TemporaryDirectory run;
    save(run.path(), 1);
    const pid_t child = ::fork();
    if (child == 0) {
      io_faults::die_at(k);
      save(run.path(), 1);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    survived = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    EXPECT_EQ(newest(run.path()), std::make_pair(std::string("checkpoint-1"), 0)) << k;
  }
  EXPECT_GT(k, 10);
}

TEST(CheckpointFaults, FullDiskAtEveryCallKeepsThePreviousAndLeavesNoTemporary) {
  int k = 0;
  for (bool failed = true; failed; ++k) {
    const TemporaryDirectory run;
    save(run.path(), 1);
    save(run.path(), 2);
    io_faults::fail_at(k, ENOSPC);
    try {
      save(run.path(), 3);
      failed = false;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::resource);
    }
    io_faults::none();
    const auto [name, warnings] = newest(run.path());
    EXPECT_EQ(warnings, 0) << k;
    EXPECT_TRUE(name == "checkpoint-3" || (failed && name == "checkpoint-2")) << k;
    EXPECT_THAT(remove_leftovers(run.path()), IsEmpty()) << k;
  }
  EXPECT_GT(k, 10);
}

TEST(RunDirectory, SecondOwnerIsToldWhoTheFirstIs) {
  const TemporaryDirectory parent;
  const fs::path path = parent.path() / "run";
  {
    const RunDirectory first(path);
    EXPECT_THAT(error_of(ExitCode::resource, [&] { const RunDirectory second(path); }),
                AllOf(HasSubstr(path.string()), HasSubstr("process " + std::to_string(::getpid()) + " on ")));
  }
  EXPECT_FALSE(fs::exists(path)) << "an empty directory that was made here goes away";
  const RunDirectory third(path);
}

TEST(RunDirectory, LeavesNothingBehindButWhatWasWritten) {
  const TemporaryDirectory parent;
  { const RunDirectory run(parent.path() / "a" / "b" / "c"); }
  EXPECT_TRUE(fs::is_empty(parent.path()));
  {
    const RunDirectory run(parent.path() / "a" / "b");
    fs::create_directory(run.prepared());
    std::ofstream(run.prepared() / "dataset.h5") << "x";
  }
  EXPECT_TRUE(fs::is_empty(parent.path()));
  {
    RunDirectory run(parent.path() / "a");
    run.keep();
    std::ofstream(run.path() / "config.yaml") << "x";
    EXPECT_TRUE(run.holds_run());
  }
  EXPECT_TRUE(fs::exists(parent.path() / "a" / "config.yaml"));
  EXPECT_FALSE(fs::exists(parent.path() / "a" / ".lock"));
}

TEST(RunDirectory, ForeignFilesAreNeitherUsedNorRemoved) {
  const TemporaryDirectory run;
  std::ofstream(run.path() / "thesis.tex") << "x";
  std::ofstream(run.path() / "metrics.jsonl") << "{}";
  RunDirectory directory(run.path());
  EXPECT_THAT(error_of(ExitCode::config, [&] { directory.refuse_foreign_files(); }),
              AllOf(HasSubstr("output_dir"), HasSubstr("'thesis.tex'"), HasSubstr("--force")));
  directory.clear();
  EXPECT_TRUE(fs::exists(run.path() / "thesis.tex"));
  EXPECT_FALSE(fs::exists(run.path() / "metrics.jsonl"));
}

}  // namespace
}  // namespace gorgon
