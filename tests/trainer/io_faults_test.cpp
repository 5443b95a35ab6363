// Whatever is written, whichever call fails or is the last: under its name stands the earlier version or the
// new one, whole.
#include "tests/trainer/io_faults.h"

#include <map>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/dataset_file.h"
#include "data/file.h"
#include "kernels/error.h"
#include "tests/data/dataset_examples.h"
#include "tests/data/expect_error.h"
#include "tests/data/temporary_directory.h"
#include "tests/model/temporary_heads.h"
#include "tests/model/tiny_model.h"
#include "trainer/checkpoint.h"
#include "trainer/export.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

// Something that writes under a folder: version 1 first, then version 2, which the fault meets.
struct Writing {
  const char* name;
  std::function<void(const fs::path& folder, int version)> write;
  int calls;  // at least as many change the disk
  friend void PrintTo(const Writing& writing, std::ostream* out) { *out << writing.name; }
};

void write_a_dataset(const fs::path& folder, int version) {
  write_dataset(folder / "dataset.h5", example_dataset({5 * version, 9}, Packing::wrapped, 8));
}

void write_a_text(const fs::path& folder, int version) {
  write_atomically(folder / "config.json", "version " + std::to_string(version));
}

void write_a_checkpoint(const fs::path& folder, int version) {
  TrainingState state;
  state.step = version;
  save_checkpoint(folder, state, [&](const fs::path& to) {
    write_atomically(to / "heads", "weights of step " + std::to_string(version));
  });
}

// An export has one version, since its directory must be new: the first call makes the heads that it is made
// of.
void write_an_export(const fs::path& folder, int version) {
  TinyModel model(77);
  FoundHeads found;
  found.file = folder / "heads.safetensors";
  if (version == 1) {
    TemporaryHeads heads;
    heads.add_heads(model, 2);
    fs::copy_file(heads.write(), found.file);
    return;
  }
  found.directory = "tests/golden";
  found.config.bf16 = false;
  const Stream stream(Device{}, 1);
  export_hf(found, model.weights(), folder / "export", stream);
}

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const bool file = entry.is_regular_file();
    files[fs::relative(entry.path(), folder)] = file ? read_text(entry.path(), ExitCode::data) : "";
  }
  return files;
}

class IoFaults : public testing::TestWithParam<Writing> {
 protected:
  void SetUp() override {
    const TemporaryDirectory folder;
    GetParam().write(folder.path(), 1);
    earlier_ = contents(folder.path());
    GetParam().write(folder.path(), 2);
    whole_ = contents(folder.path());
    ASSERT_NE(earlier_, whole_);
  }
  bool writes(const fs::path& folder) {
    try {
      GetParam().write(folder, 2);
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::resource) << error.what();
    } catch (const fs::filesystem_error&) {  // the program ends with the same status
    }
    return false;
  }

  std::map<std::string, std::string> earlier_, whole_;
};

TEST_P(IoFaults, AFailedCallLeavesTheEarlierVersionOrTheNewOne) {
  for (const int error : {EIO, ENOSPC}) {
    int k = 0;
    for (bool written = false; !written; ++k) {
      SCOPED_TRACE(k);
      const TemporaryDirectory folder;
      GetParam().write(folder.path(), 1);
      io_faults::fail_at(k, error);
      written = writes(folder.path());
      const std::string calls = io_faults::calls();
      io_faults::none();
      const auto found = contents(folder.path());
      EXPECT_TRUE(found == whole_ || (!written && found == earlier_)) << calls;
      // The kernel may have dropped the pages: neither a second fsync nor anything built on the first.
      const auto at = static_cast<size_t>(k);
      if (at < calls.size() && calls[at] == 'f') {
        EXPECT_FALSE(written) << calls;
        EXPECT_EQ(calls.find_first_of("wfr", at + 1), std::string::npos) << calls;
      }
    }
    EXPECT_GE(k, GetParam().calls);
  }
}

TEST_P(IoFaults, DeathAtAnyCallLeavesTheEarlierVersionOrTheNewOne) {
  int k = 0;
  for (bool survived = false; !survived; ++k) {
    SCOPED_TRACE(k);
    const TemporaryDirectory folder;
    GetParam().write(folder.path(), 1);
    const pid_t child = ::fork();
    if (child == 0) {
      io_faults::die_at(k);
      ::_exit(writes(folder.path()) ? 0 : 1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    survived = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    ASSERT_TRUE(survived || (WIFEXITED(status) && WEXITSTATUS(status) == io_faults::kDeath)) << status;
    auto found = contents(folder.path());
    // What a killed process could not remove has a name that nothing reads.
    std::erase_if(found, [](const auto& file) {
      return file.first.front() == '.' || file.first.find(".partial") != std::string::npos;
    });
    EXPECT_TRUE(found == whole_ || (!survived && found == earlier_));
  }
  EXPECT_GE(k, GetParam().calls);
}

INSTANTIATE_TEST_SUITE_P(Written, IoFaults,
                         testing::Values(Writing{"Text", write_a_text, 4},
                                         Writing{"Dataset", write_a_dataset, 5},
                                         Writing{"Checkpoint", write_a_checkpoint, 15},
                                         Writing{"Export", write_an_export, 10}),
                         [](const auto& writing) { return std::string(writing.param.name); });

TEST(IoFaultLines, TellAFullDiskFromASpentQuotaAndAnOldFileStays) {
  const TemporaryDirectory folder;
  const fs::path path = folder.path() / "a";
  write_atomically(path, "kept");
  for (const auto& [error, says] :
       {std::pair(ENOSPC, "a full disk with "), {EDQUOT, "a spent quota with "}}) {
    io_faults::fail_at(0, error);
    expect_error([&] { write_atomically(path, "twelve bytes"); }, ExitCode::resource,
                 {path.string(), "room for 12 more bytes", says, "bytes free", "free some space"});
    io_faults::none();
    EXPECT_EQ(read_text(path, ExitCode::data), "kept");
    EXPECT_EQ(folder.entries(), 1u);
  }
}

}  // namespace
}  // namespace gorgon
