// A kill cannot show a missing fsync: the kernel still has the pages. Here what a run does to the disk is
// recorded, and after every call the power is cut in a model of the disk that keeps no more than it has to.
#include <fstream>
#include <map>

#include <gtest/gtest.h>

#include "data/file.h"
#include "tests/data/temporary_directory.h"
#include "tests/trainer/io_faults.h"
#include "trainer/checkpoint.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

// Files and directories under one folder, each as it is and as it is sure to be after a power cut.
class DiskModel {
 public:
  // What lies in the folder now is durable.
  explicit DiskModel(const fs::path& root) : root_(root) {
    nodes_.push_back({.is_directory = true});
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      if (entry.is_directory()) {
        at(entry.path(), true);
      } else {
        at(entry.path()).data = read_text(entry.path(), ExitCode::data);
      }
    }
    for (Node& node : nodes_) {
      node.durable_data = node.data;
      node.durable_entries = node.entries;
    }
  }

  void apply(const io_faults::Call& call) {
    if (call.kind == 'w') {
      std::string& data = at(call.path).data;
      data.resize(std::max(data.size(), static_cast<size_t>(call.at) + call.data.size()));
      data.replace(static_cast<size_t>(call.at), call.data.size(), call.data);
    } else if (call.kind == 'f') {
      Node& node = at(call.path);
      node.durable_data = node.data;
      node.durable_entries = node.entries;
    } else if (call.kind == 'm') {
      at(call.path, true);
    } else if (call.kind == 'u') {
      parent_of(call.path).entries.erase(fs::path(call.path).filename());
    } else {
      const int from = index_of(call.path), to = call.kind == 'x' ? index_of(call.to) : -1;
      parent_of(call.path).entries.erase(fs::path(call.path).filename());
      parent_of(call.to).entries[fs::path(call.to).filename()] = from;
      if (to >= 0) parent_of(call.path).entries[fs::path(call.path).filename()] = to;
    }
  }

  // Names: as they are, or as of the last fsync of their directory; both happen. Contents: as of the last
  // fsync.
  void write_after_power_cut(const fs::path& to, bool names_are_ahead) const {
    write(0, to, names_are_ahead);
  }

 private:
  struct Node {
    bool is_directory = false;
    std::map<std::string, int> entries{}, durable_entries{};
    std::string data{}, durable_data{};
  };

  // Made where it is not there yet: creating a file is not recorded, writing it is.
  int index_of(const fs::path& path, bool is_directory = false) {
    int node = 0;
    const fs::path relative = path.lexically_relative(root_);
    if (relative == ".") return node;
    for (auto part = relative.begin(); part != relative.end(); ++part) {
      const bool is_last = std::next(part) == relative.end();
      const auto found = nodes_[static_cast<size_t>(node)].entries.find(*part);
      if (found != nodes_[static_cast<size_t>(node)].entries.end()) {
        node = found->second;
        continue;
      }
      nodes_.push_back({.is_directory = !is_last || is_directory});
      const int made = static_cast<int>(nodes_.size()) - 1;
      nodes_[static_cast<size_t>(node)].entries[*part] = made;
      node = made;
    }
    return node;
  }
  Node& at(const fs::path& path, bool is_directory = false) {
    return nodes_[static_cast<size_t>(index_of(path, is_directory))];
  }
  Node& parent_of(const fs::path& path) { return at(path.parent_path(), true); }

  void write(int index, const fs::path& to, bool names_are_ahead) const {
    const Node& node = nodes_[static_cast<size_t>(index)];
    if (!node.is_directory) {
      std::ofstream(to, std::ios::binary) << node.durable_data;
      return;
    }
    fs::create_directories(to);
    for (const auto& [name, child] : names_are_ahead ? node.entries : node.durable_entries) {
      write(child, to / name, names_are_ahead);
    }
  }

  fs::path root_;
  std::vector<Node> nodes_;
};

void save(const fs::path& run, int64_t step) {
  TrainingState state;
  state.step = step;
  save_checkpoint(run, state, [&](const fs::path& to) {
    write_atomically(to / "heads", "weights of step " + std::to_string(step));
    std::ofstream(to / "optimizer") << "moments of step " << step;  // synced by save_checkpoint
  });
}

// After any number of the calls: the newest checkpoint is whole and no older than `least`, and none has its
// final name and is damaged.
void expect_whole_after_every_cut(const DiskModel& before, const std::vector<io_faults::Call>& calls,
                                  const std::string& least, const std::string& last) {
  DiskModel disk = before;
  for (size_t k = 0; k <= calls.size(); ++k) {
    for (const bool names_are_ahead : {false, true}) {
      SCOPED_TRACE("after call " + std::to_string(k) + (names_are_ahead ? ", names ahead" : ""));
      const TemporaryDirectory after;
      disk.write_after_power_cut(after.path() / "run", names_are_ahead);
      int damaged = 0;
      const std::string newest =
          newest_checkpoint(after.path() / "run", [&](const std::string&) { ++damaged; }).filename();
      EXPECT_EQ(damaged, 0);
      EXPECT_TRUE(newest == least || newest == last) << newest;
      if (k == calls.size()) {
        EXPECT_EQ(newest, last) << "what was saved was not durable";
      }
    }
    if (k < calls.size()) disk.apply(calls[k]);
  }
}

TEST(PowerLoss, ASavedCheckpointIsDurableAndAnUnfinishedOneHarmsNothing) {
  const TemporaryDirectory run;
  save(run.path(), 1);
  save(run.path(), 2);
  const DiskModel before(run.path());
  io_faults::start_recording();
  save(run.path(), 3);
  prune_checkpoints(run.path(), 2, 0);
  const auto calls = io_faults::take_recording();
  EXPECT_GT(calls.size(), 15u);
  expect_whole_after_every_cut(before, calls, "checkpoint-2", "checkpoint-3");
}

TEST(PowerLoss, TheOnlyCheckpointSavedAgainIsNeverLost) {
  const TemporaryDirectory run;
  save(run.path(), 1);
  const DiskModel before(run.path());
  io_faults::start_recording();
  save(run.path(), 1);
  expect_whole_after_every_cut(before, io_faults::take_recording(), "checkpoint-1", "checkpoint-1");
}

// The model can fail: without the fsyncs a checkpoint with its final name is damaged.
TEST(PowerLoss, MissingSyncsShow) {
  const TemporaryDirectory run;
  const DiskModel before(run.path());
  io_faults::start_recording();
  save(run.path(), 1);
  DiskModel disk = before;
  for (const io_faults::Call& call : io_faults::take_recording()) {
    if (call.kind != 'f') disk.apply(call);
  }
  const TemporaryDirectory after;
  disk.write_after_power_cut(after.path() / "run", true);
  EXPECT_THROW(verify_checkpoint(after.path() / "run/checkpoint-1"), Error);
}

}  // namespace
}  // namespace gorgon
