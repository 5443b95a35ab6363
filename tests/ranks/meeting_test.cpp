#include "kernels/ranks/meeting.h"

#include <algorithm>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/ranks/socket.h"
#include "tests/data/temporary_directory.h"
#include "tests/ranks/job.h"
#include "tests/trainer/tiny_run.h"

// How ranks find one another: who is waited for, who is turned away, and what is said where one fails before.

namespace gorgon {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kSeen = "until grep -q '{}' $folder/err.{}; do sleep 0.05; done";  // text, rank

// Each rank runs the script, where $RANK is its number.
JobResult run_script(int ranks, const std::string& script) {
  Job job(Launcher::variables, ranks, "bash", {"-c", script});
  return job.wait();
}

int64_t count(const std::string& text, const std::string& part) {
  int64_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(Meeting, SaysWhoIsMissing) {
  const JobResult result = run_script(
      4, fmt::format("if [ $RANK -ge 2 ]; then {}; fi; exec {} collectives",
                     fmt::format(kSeen, "said: waiting for ranks 2, 3 of 4 at", 0), GORGON_RANK_PROGRAM));
  EXPECT_EQ(result.statuses, (std::vector<int>{0, 0, 0, 0})) << result.err;
  EXPECT_THAT(result.err, HasSubstr("waiting for ranks 2, 3 of 4 at " + own_host_name() + ":"));
}

TEST(Meeting, RankOneMissesRankZero) {
  const JobResult result = run_script(
      2, fmt::format("if [ $RANK = 0 ]; then {}; fi; exec {} collectives",
                     fmt::format(kSeen, "waiting for rank 0 at 127.0.0.1:", 1), GORGON_RANK_PROGRAM));
  EXPECT_EQ(result.statuses, (std::vector<int>{0, 0})) << result.err;
}

// Those that have come learn from rank 0 why it ends.
TEST(Meeting, EndsWhereARankNeverComes) {
  const JobResult result =
      run_script(3, fmt::format("[ $RANK = 2 ] && exit 0; exec {} collectives 2", GORGON_RANK_PROGRAM));
  EXPECT_EQ(result.statuses, (std::vector<int>{7, 7, 0})) << result.err;
  EXPECT_THAT(result.err, HasSubstr("expected 3 ranks within 2."));
  EXPECT_THAT(result.err, HasSubstr("found 2, without rank 2 of 3"));
  EXPECT_EQ(count(result.err, "not met: rank 0 on "), 2) << result.err;  // by both, in rank 0's words
  EXPECT_EQ(count(result.err, "(told)"), 1) << result.err;
}

// A rank that ends while it waits for the others may come again.
TEST(Meeting, ARankThatIsStartedAgainIsLetIn) {
  const std::string program = GORGON_RANK_PROGRAM;
  const JobResult result = run_script(
      3, "case $RANK in 1) " + program + " collectives & first=$!; " +
             fmt::format(kSeen, "said: waiting for rank 2 of 3", 0) + "; kill -9 $first; wait $first;; 2) " +
             fmt::format(kSeen, "rank 1 again", 1) +
             ";; esac; [ $RANK = 1 ] && { echo rank 1 again >&2; }; exec " + program + " collectives");
  EXPECT_EQ(result.statuses, (std::vector<int>{0, 0, 0})) << result.err;
}

TEST(Meeting, RanksOfAnotherJobAreTurnedAway) {
  const std::string program = GORGON_RANK_PROGRAM;
  const JobResult result = run_script(2, "if [ $RANK = 1 ]; then GORGON_JOB=theirs " + program +
                                             " collectives; echo theirs: $? >&2; fi; GORGON_JOB=ours exec " +
                                             program + " collectives");
  EXPECT_EQ(result.statuses, (std::vector<int>{0, 0})) << result.err;
  EXPECT_THAT(result.err, HasSubstr("theirs: 7"));
  const std::string line = "rank 1 on " + own_host_name() + ": start: expected at " + own_host_name() + ":";
  EXPECT_THAT(result.err, HasSubstr("not met: " + line));
  EXPECT_THAT(result.err, HasSubstr("said: turned away " + line));
  EXPECT_THAT(result.err, HasSubstr("a rank of the job with GORGON_JOB ours, found one of the job with "
                                    "GORGON_JOB theirs; choose another MASTER_PORT"));
}

TEST(Meeting, OfTheSameJobOnlyOneRankOfANumberAndOneNumberOfRanks) {
  const std::string program = GORGON_RANK_PROGRAM;
  const JobResult size = run_script(2, "if [ $RANK = 1 ]; then WORLD_SIZE=3 " + program +
                                           " collectives; fi; exec " + program + " collectives");
  EXPECT_EQ(size.statuses, (std::vector<int>{0, 0})) << size.err;
  EXPECT_THAT(size.err, HasSubstr("expected 2 ranks as on rank 0, found 3"));
  const JobResult twice =
      run_script(3, "if [ $RANK = 2 ]; then " + fmt::format(kSeen, "said: waiting for rank 2 of 3", 0) +
                        "; RANK=1 " + program + " collectives; fi; exec " + program + " collectives");
  EXPECT_EQ(twice.statuses, (std::vector<int>{0, 0, 0})) << twice.err;
  EXPECT_THAT(twice.err, HasSubstr("expected every rank from 0 to 2 once, found another rank 1"));
}

// Who was turned away and comes no better ends the job for all ranks, far ahead of the deadline.
TEST(Meeting, AMistakeEndsAllRanksSoon) {
  const std::string program = GORGON_RANK_PROGRAM;
  const JobResult result =
      run_script(3, "if [ $RANK = 2 ]; then " + fmt::format(kSeen, "said: waiting for rank 2 of 3", 0) +
                        "; export WORLD_SIZE=4; fi; exec " + program + " collectives 60 0.5");
  EXPECT_EQ(result.statuses, (std::vector<int>{7, 7, 7})) << result.err;
  const std::string line =
      "not met: rank 2 on " + own_host_name() +
      ": start: expected 3 ranks as on rank 0, found 4; start all ranks with one launcher";
  EXPECT_EQ(count(result.err, line), 3) << result.err;
  EXPECT_EQ(count(result.err, line + " (told)"), 1) << result.err;
}

TEST(Meeting, AnotherProtocolIsToldFromAStranger) {
  const JobResult result = run_script(
      2,
      std::string(
          "if [ $RANK = 1 ]; then until { exec 3<>/dev/tcp/127.0.0.1/$MASTER_PORT; } 2>/dev/null; do sleep "
          "0.05; done; printf '\\17\\0\\0\\0Hgorgon ranks 2\\n' >&3; cat <&3 >&2; exit 5; fi; exec ") +
          GORGON_RANK_PROGRAM + " collectives 60 0.5");
  EXPECT_EQ(result.statuses, (std::vector<int>{7, 5})) << result.err;
  EXPECT_THAT(
      result.err,
      HasSubstr("not met: a rank at 127.0.0.1: start: expected gorgon ranks 3 as on rank 0, found 'gorgon "
                "ranks 2'; start all ranks with the same version of gorgon"));
}

// What meet() of rank 1 of 2 ends with, and what it says before.
struct NotMetLine {
  std::string line;
  std::vector<std::string> said;
};
NotMetLine line_of_rank_one(const std::string& address, int port, MeetingTerms terms) {
  MeetingPoint point;
  point.addresses = {address};
  point.port = port;
  Peer self;
  self.host = "here";
  NotMetLine result;
  terms.say = [&result](const std::string& line) { result.said.push_back(line); };
  try {
    meet(1, 2, point, self, terms);
  } catch (const NotMet& error) {
    EXPECT_FALSE(error.told());
    result.line = error.what();
  }
  return result;
}

TEST(Meeting, SomethingElseAtThePortIsNoRankZero) {
  const Socket other = Socket::listen(0);
  MeetingTerms terms;
  terms.strange = 0.5;
  const NotMetLine result = line_of_rank_one("127.0.0.1", other.port(), terms);
  EXPECT_THAT(result.line,
              HasSubstr(fmt::format("rank 1 on here: start: expected rank 0 at 127.0.0.1:{}, found "
                                    "something that answers otherwise for ",
                                    other.port())));
  EXPECT_THAT(result.line, HasSubstr("choose another MASTER_PORT"));
}

TEST(Meeting, ANameOfNoMachineIsSaidAtOnce) {
  MeetingTerms terms;
  terms.seconds = 1;
  terms.first_word = 0.1;
  const NotMetLine result = line_of_rank_one("no-such..host", 29500, terms);  // no name server is asked
  ASSERT_EQ(result.said.size(), 1u);
  EXPECT_THAT(result.said[0],
              HasSubstr("waiting for rank 0 at no-such..host:29500; MASTER_ADDR 'no-such..host': "));
  EXPECT_THAT(result.line, HasSubstr("(ddp_timeout); MASTER_ADDR 'no-such..host': "));
}

// Whatever talks to the port: the ranks meet all the same.
TEST(Meeting, StrangersAreLeftOut) {
  const JobResult result = run_script(
      2,
      "if [ $RANK = 1 ]; then for word in $'GET / HTTP/1.0\\r\\n\\r\\n' $'\\1\\0\\0\\0H?'; do until printf "
      "'%s' "
      "\"$word\" 2>/dev/null >/dev/tcp/127.0.0.1/$MASTER_PORT; do sleep 0.05; done; done; fi 2>/dev/null; "
      "exec " GORGON_RANK_PROGRAM " collectives");
  EXPECT_EQ(result.statuses, (std::vector<int>{0, 0})) << result.err;
}

// The program itself: what fails before the ranks have met is told once.
class EarlyErrors : public testing::Test {
 protected:
  EarlyErrors() { write_tiny_run(folder_.path()); }
  std::string train() const {
    return fmt::format("exec {} train {}/run.yaml", GORGON_PROGRAM, folder_.path().string());
  }
  static void expect_once(const JobResult& result, const std::string& line) {
    EXPECT_EQ(count(result.err, "error: "), 1) << result.err;
    EXPECT_THAT(result.err, HasSubstr(line));
  }
  TemporaryDirectory folder_;
};

TEST_F(EarlyErrors, OfAllRanksAreToldByOne) {
  const auto run = [](const std::string& words) {
    return run_script(3, fmt::format("exec {} {}", GORGON_PROGRAM, words));
  };
  const std::string config = (folder_.path() / "run.yaml").string();
  const std::vector<std::pair<std::string, std::string>> cases{
      {"train --nope " + config, "--nope"},
      {"plan " + config, "plan: expected one process, found 3"},
      {"train " + config + " --set learning_rat=1", "did you mean learning_rate"},
      {"train no-such.yaml", "no-such.yaml"},
      {"eval nowhere --data " + (folder_.path() / "eval.jsonl").string(),
       "nowhere: expected a run directory"}};
  for (const auto& [words, line] : cases) {
    SCOPED_TRACE(words);
    const JobResult result = run(words);
    for (const int status : result.statuses) EXPECT_TRUE(status == 2 || status == 5) << result.err;
    expect_once(result, line);
  }
  const JobResult help = run("train --help");
  EXPECT_EQ(help.statuses, (std::vector<int>{0, 0, 0}));
  EXPECT_EQ(count(help.out, "Example:"), 1);
}

TEST_F(EarlyErrors, OfOneRankEndTheJobAndAreToldByRankZero) {
  const JobResult nope = run_script(2, "[ $RANK = 1 ] && set -- --nope; " + train() + " $1");
  EXPECT_EQ(nope.statuses, (std::vector<int>{7, 2}));
  expect_once(nope, "error: rank 1 on " + own_host_name() + " ended: command line: ");
  const JobResult first = run_script(2, "[ $RANK = 0 ] && set -- --nope; " + train() + " $1");
  EXPECT_EQ(first.statuses, (std::vector<int>{2, 7}));
  expect_once(first, "error: command line: ");
}

// Rank 0 says so, and the others do not wait for it.
TEST_F(EarlyErrors, ATakenPortEndsAllRanks) {
  const Socket taken = Socket::listen(0);
  Job job(Launcher::variables, 3, "bash", {"-c", train()}, {{"MASTER_PORT", std::to_string(taken.port())}});
  const JobResult result = job.wait();
  EXPECT_EQ(result.statuses, (std::vector<int>{7, 7, 7})) << result.err;
  expect_once(
      result,
      fmt::format("error: rank 0 on {}: MASTER_PORT: expected a port that rank 0 may listen at, found {}, "
                  "which another program has",
                  own_host_name(), taken.port()));
}

// Two jobs of the same program at one port, told apart by where they write.
TEST_F(EarlyErrors, AnotherRunsRankIsTurnedAway) {
  const JobResult result = run_script(
      2,
      fmt::format("if [ $RANK = 1 ]; then {0} train {1}/run.yaml --set output_dir={1}/other; echo other: $? "
                  ">&2; fi; {2}",
                  GORGON_PROGRAM, folder_.path().string(), train()));
  EXPECT_EQ(result.statuses, (std::vector<int>{0, 0})) << result.err;
  EXPECT_THAT(result.err, HasSubstr("other: 7"));
  EXPECT_THAT(result.err, HasSubstr("found one of the job with output_dir " +
                                    (folder_.path() / "other").string() + "; choose another MASTER_PORT"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "other"));
}

}  // namespace
}  // namespace gorgon
