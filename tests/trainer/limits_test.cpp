// The program within the limits that a system sets (ulimit -f, ulimit -v, a small disk, no memory at one
// moment): a line and its status where they do not suffice, nothing half-written under a final name, and the
// same command goes on to the same bits where there is more.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/temporary_directory.h"
#include "tests/trainer/program.h"
#include "tests/trainer/run_comparison.h"
#include "tests/trainer/tiny_run.h"
#include "trainer/checkpoint.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Sanitizers reserve terabytes of addresses, and have an operator new of their own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

class Limits : public ::testing::Test {
 protected:
  Limits() { write_tiny_run(folder_.path()); }
  fs::path run() const { return folder_.path() / "run"; }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string train() const {
    return fmt::format("'{}' train '{}' >/dev/null", GORGON_PROGRAM, at("run.yaml"));
  }

  // The status of a shell's script, and what it wrote to stderr. That goes through a pipe: in a file it would
  // be subject to a limit of files' sizes.
  ProgramResult shell(const std::string& script) const {
    std::ofstream(at("script")) << script;
    const std::string line =
        fmt::format("{{ sh '{}'; echo $? >'{}'; }} 2>&1 | cat >'{}'", at("script"), at("status"), at("err"));
    ProgramResult result;
    if (std::system(line.c_str()) != 0) return result;
    result.status = std::atoi(file_text(at("status")).c_str());  // 128 + signal where one ended it
    result.err = file_text(at("err"));
    return result;
  }
  void expect_one_error_line(const ProgramResult& result) const {
    EXPECT_EQ(result.status, 6) << result.err;
    const size_t from = result.err.find("error: ");
    ASSERT_NE(from, std::string::npos) << result.err;
    EXPECT_EQ(std::count(result.err.begin() + static_cast<ptrdiff_t>(from), result.err.end(), '\n'), 1)
        << result.err;
  }
  fs::path reference() const {
    const ProgramResult result = run_program({"train", at("run.yaml")});
    EXPECT_EQ(result.status, 0) << result.err;
    fs::rename(run(), at("reference"));
    return at("reference");
  }
  void expect_goes_on(const fs::path& whole) const {
    const ProgramResult result = run_program({"train", at("run.yaml")});
    ASSERT_EQ(result.status, 0) << result.err;
    expect_same_run(run(), whole, 8);
  }

  TemporaryDirectory folder_;
};

TEST_F(Limits, SizeOfFiles) {
  const fs::path whole = reference();
  int refused = 0;
  for (const int kibibytes : {1, 8, 30, 60, 80, 160, 100000}) {
    SCOPED_TRACE(kibibytes);
    fs::remove_all(run());
    fs::copy(whole, run(), fs::copy_options::recursive);
    fs::remove(run() / "medusa_heads.safetensors");
    for (const CheckpointName& checkpoint : list_checkpoints(run())) {
      if (checkpoint.step > 3) fs::remove_all(checkpoint.path);
    }
    const ProgramResult result = shell(fmt::format("ulimit -f {}; exec {}", 2 * kibibytes, train()));
    if (result.status != 0) {
      expect_one_error_line(result);
      EXPECT_THAT(result.err, HasSubstr("File too large; raise ulimit -f"));
      ++refused;
    }
    verify_checkpoint(run() / "checkpoint-3");
    EXPECT_THAT(remove_leftovers(run()), IsEmpty());
    for (const CheckpointName& checkpoint : list_checkpoints(run())) verify_checkpoint(checkpoint.path);
  }
  EXPECT_GT(refused, 2);
  fs::remove_all(run());
  EXPECT_EQ(shell("ulimit -f 120; exec " + train()).status, 6);
  expect_goes_on(whole);
}

TEST_F(Limits, SmallDisk) {
  if (kSanitized) GTEST_SKIP() << "the leak checker needs rights that unshare takes";
  if (std::system("unshare -rm sh -c 'mount -t tmpfs none /mnt' 2>/dev/null") != 0)
    GTEST_SKIP() << "no file systems may be mounted here (unshare -rm)";
  const fs::path whole = reference();
  fs::create_directory(run());
  const ProgramResult result = shell(fmt::format(
      "exec unshare -rm sh -c \"mount -t tmpfs -o size=500k none '{0}' || exit 77; {1}; status=\\$?; "
      "ls -A '{0}' >'{2}'; mount -o remount,size=50m '{0}' && {1} && cp -a '{0}' '{3}'; exit \\$status\"",
      run().string(), train(), at("listing"), at("after")));
  ASSERT_EQ(result.status, 6) << result.err;
  EXPECT_THAT(result.err, HasSubstr("a full disk with "));
  EXPECT_THAT(result.err, HasSubstr(" bytes free; free some space or choose another output_dir\n"));
  EXPECT_THAT(file_text(at("listing")), HasSubstr("checkpoint-1\n"));
  EXPECT_THAT(file_text(at("listing")), ::testing::Not(HasSubstr(".tmp")));
  expect_same_run(at("after"), whole, 8);
}

TEST_F(Limits, Memory) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer reserves more addresses than any limit";
  const fs::path whole = reference();
  int refused = 0, done = 0;
  for (int mebibytes = 60; done < 2 && mebibytes < 16000; mebibytes += mebibytes / 6) {
    SCOPED_TRACE(mebibytes);
    const std::string limit = fmt::format("ulimit -v {}; exec ", 1024 * mebibytes);
    if (shell(limit + GORGON_PROGRAM " --version >/dev/null").status != 0) continue;  // not even loaded
    fs::remove_all(run());
    const ProgramResult result = shell(limit + train());
    if (result.status == 0) {
      ++done;
      expect_same_run(run(), whole, 8);
      continue;
    }
    ++refused;
    expect_one_error_line(result);
    EXPECT_THAT(result.err, AnyOf(HasSubstr(" MiB free; lower "), HasSubstr("memory: expected "),
                                  HasSubstr("expected memory for the data set"),
                                  HasSubstr("threads: expected "), HasSubstr("Cannot allocate memory")));
  }
  EXPECT_GT(refused, 2);
  EXPECT_GT(done, 0);
  expect_goes_on(whole);
}

// A sample of the calls of operator new for 16 KiB and more, or as many as GORGON_TEST_ALLOCATIONS says.
TEST_F(Limits, NoMemoryAtAnyAllocation) {
  if (kSanitized) GTEST_SKIP() << "a sanitizer has an operator new of its own";
  const char* wanted = std::getenv("GORGON_TEST_ALLOCATIONS");  // NOLINT: no other thread is there
  const int64_t trials = wanted != nullptr ? std::atoll(wanted) : 30;
  const std::string preload = "export LD_PRELOAD='" + fs::absolute(GORGON_FAILING_NEW).string() + "'; ";
  const ProgramResult counted =
      shell(preload + fmt::format("export GORGON_TEST_COUNT_NEW='{}'; exec {}", at("count"), train()));
  ASSERT_EQ(counted.status, 0) << counted.err;
  const int64_t calls = std::atoll(file_text(at("count")).c_str());
  ASSERT_GT(calls, 50);
  fs::rename(run(), at("reference"));
  int refused = 0;
  for (int64_t i = 0; i < std::min(trials, calls); ++i) {
    const int64_t call = 1 + i * calls / std::min(trials, calls);
    SCOPED_TRACE(call);
    fs::remove_all(run());
    const ProgramResult result =
        shell(preload + fmt::format("export GORGON_TEST_FAIL_NEW={}; exec {}", call, train()));
    refused += result.status == 0 ? 0 : 1;
    if (result.status == 0) {
      expect_same_run(run(), at("reference"), 8);
    } else {
      expect_one_error_line(result);
      EXPECT_THAT(result.err, HasSubstr("error: out of memory, "));
      for (const CheckpointName& checkpoint : list_checkpoints(run())) verify_checkpoint(checkpoint.path);
    }
  }
  EXPECT_GT(refused, std::min(trials, calls) / 2);
  expect_goes_on(at("reference"));
}

}  // namespace
}  // namespace gorgon
