#pragma once

#include <algorithm>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tests/data/temporary_directory.h"
#include "tests/ranks/job.h"
#include "tests/trainer/program.h"
#include "tests/trainer/tiny_run.h"

namespace gorgon {

// The tiny run in f32 with a batch that does not depend on the ranks: 5 sequences over 1, 2, 3 and 4 of them.
class TrainingRuns : public testing::Test {
 protected:
  // `set`: KEY=VALUE of all runs.
  TrainingRuns(std::string program, std::vector<std::string> set,
               std::map<std::string, std::string> environment)
      : program_(std::move(program)), set_(std::move(set)), environment_(std::move(environment)) {
    write_tiny_run(folder_.path());
  }

  std::vector<std::string> arguments(const std::string& run, const std::vector<std::string>& set = {}) const {
    std::vector<std::string> all{"train", (folder_.path() / "run.yaml").string()};
    std::vector<std::string> values{"output_dir=" + directory(run).string(), "global_batch_size=5",
                                    "bf16=false"};
    values.insert(values.end(), set_.begin(), set_.end());
    values.insert(values.end(), set.begin(), set.end());
    for (const std::string& value : values) all.insert(all.end(), {"--set", value});
    return all;
  }
  std::filesystem::path directory(const std::string& run) const { return folder_.path() / run; }

  std::vector<nlohmann::json> metrics(const std::string& run) const {
    std::vector<nlohmann::json> lines;
    std::istringstream in(file_text(directory(run) / "metrics.jsonl"));
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  void wait_for_steps(const std::string& run) const {
    for (int i = 0; i < 3000 && file_text(directory(run) / "metrics.jsonl").empty(); ++i) ::usleep(10000);
  }
  int64_t checkpoints(const std::string& run) const {
    return std::count_if(
        std::filesystem::directory_iterator(directory(run)), std::filesystem::directory_iterator(),
        [](const auto& entry) { return entry.path().filename().string().starts_with("checkpoint-"); });
  }

  static Launcher launcher() { return can_launch(Launcher::mpirun) ? Launcher::mpirun : Launcher::variables; }

  void train(const std::string& run, int ranks, const std::vector<std::string>& set = {},
             Launcher by = launcher()) const {
    Job job(ranks == 1 ? Launcher::variables : by, ranks, program_, arguments(run, set), environment_);
    const JobResult result = job.wait();
    ASSERT_EQ(result.statuses, std::vector<int>(static_cast<size_t>(ranks), 0)) << result.err;
  }

  // f32 sums in another order: 5e-6 of the value. Counts are equal.
  void expect_same_metrics(const std::string& run, const std::string& reference) const {
    constexpr double kRelative = 5e-6;
    const std::vector<nlohmann::json> one = metrics(reference), several = metrics(run);
    ASSERT_EQ(one.size(), several.size());
    for (size_t i = 0; i < one.size(); ++i) {
      for (const auto& [key, value] : one[i].items()) {
        if (key == "tokens_per_s") continue;
        const nlohmann::json& other = several[i].at(key);
        if (key == "loss" || key == "eval_loss" || key == "grad_norm") {
          EXPECT_NEAR(other.get<double>(), value.get<double>(), kRelative * value.get<double>())
              << key << " " << i;
        } else if (key == "heads" || key == "eval_heads") {
          for (size_t k = 0; k < value.size(); ++k)
            EXPECT_NEAR(other[k].get<double>(), value[k].get<double>(), kRelative * value[k].get<double>())
                << key << " " << i;
        } else if (key.find("top") == std::string::npos) {
          EXPECT_EQ(other, value) << key << " " << i;
        }
      }
    }
    EXPECT_EQ(several[0].at("top1"), one[0].at("top1"));  // of identical weights
  }

  const std::string program_;
  const std::vector<std::string> set_;
  const std::map<std::string, std::string> environment_;
  TemporaryDirectory folder_;
};

}  // namespace gorgon
