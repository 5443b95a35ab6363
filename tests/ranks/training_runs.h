#pragma once

#include <algorithm>
#include <csignal>
#include <cstdio>
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

// What a log's own clock says: the seconds between its last two lines, and at most between two others.
struct LastSeconds {
  std::string last_line;
  double to_the_last_line = 0, longest_before = 0;
};
inline LastSeconds last_seconds(const std::filesystem::path& log) {
  constexpr int kDay = 24 * 3600;
  LastSeconds found;
  std::istringstream in(file_text(log));
  int before = -1;
  for (std::string line; std::getline(in, line);) {
    int hours = 0, minutes = 0, seconds = 0;
    if (std::sscanf(line.c_str(), "%d:%d:%d ", &hours, &minutes, &seconds) != 3) continue;
    const int now = (hours * 60 + minutes) * 60 + seconds;
    found.longest_before = std::max(found.longest_before, found.to_the_last_line);
    found.to_the_last_line = before < 0 ? 0 : (now - before + kDay) % kDay;
    found.last_line = line;
    before = now;
  }
  return found;
}

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

  // Whole lines: a run may be writing one.
  std::vector<nlohmann::json> metrics(const std::string& run) const {
    std::vector<nlohmann::json> lines;
    std::istringstream in(file_text(directory(run) / "metrics.jsonl"));
    for (std::string line; std::getline(in, line) && !in.eof();) lines.push_back(nlohmann::json::parse(line));
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

  // Rank 1 of three is lost by `signal` once `checkpoint` is saved: each survivor ends with 7 within 5 s, or
  // by the deadline where the rank is stopped, and one of them says so in one line; no finished heads are
  // there, and the same command goes on to those of the run "undisturbed". set: a step is logged each.
  void lose_a_rank(const std::string& run, int signal, int64_t checkpoint,
                   const std::vector<std::string>& set) const {
    constexpr double kDeadline = 4, kContract = 5, kClock = 1;  // seconds; logs have whole ones
    std::vector<std::string> with = set;
    with.push_back("ddp_timeout=4");
    Job job(launcher(), 3, program_, arguments(run, with), environment_);
    const std::filesystem::path saved = directory(run) / ("checkpoint-" + std::to_string(checkpoint));
    for (int i = 0; i < 6000 && !std::filesystem::exists(saved); ++i) ::usleep(10000);
    job.signal_rank(1, signal);
    job.wait_for_statuses({0, 2});
    job.kill_rank(1);
    const JobResult result = job.wait();
    for (const int survivor : {0, 2}) {
      EXPECT_EQ(result.statuses[static_cast<size_t>(survivor)], 7) << result.err;
      const LastSeconds log =
          last_seconds(directory(run) / "logs" / ("rank-" + std::to_string(survivor) + ".log"));
      EXPECT_NE(log.last_line.find(" error: "), std::string::npos) << log.last_line;
      EXPECT_NE(log.last_line.find("rank 1 on "), std::string::npos) << log.last_line;
      EXPECT_NE(log.last_line.find(": expected its part"), std::string::npos) << log.last_line;
      EXPECT_LE(log.to_the_last_line,
                kContract + (signal == SIGKILL ? 0 : kDeadline) + kClock + log.longest_before);
    }
    EXPECT_EQ(result.err.find("error: "), result.err.rfind("error: ")) << result.err;
    EXPECT_TRUE(heads_of(run).empty()) << "no step was left when the rank was lost";
    train(run, 3, with);
    EXPECT_TRUE(heads_of(run) == heads_of("undisturbed"));
    EXPECT_FALSE(heads_of(run).empty());
  }
  std::string heads_of(const std::string& run) const {
    return file_text(directory(run) / "medusa_heads.safetensors");
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
