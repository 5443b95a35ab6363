#include "tests/ranks/job.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/ranks/socket.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

// $1: the folder, then the program. Signals reach the program itself: mpirun sends SIGTERM to the shell's
// whole group, and a shell with a trap outlives it (a command that it starts would not).
constexpr const char* kShell = R"(
trap : TERM INT USR1
export folder=$1; shift
rank=${OMPI_COMM_WORLD_RANK:-$RANK}
"$@" > $folder/out.$rank 2> $folder/err.$rank &
echo $! > $folder/pid.$rank
while kill -0 $! 2>/dev/null; do wait $!; done  # a signal ends one wait
wait $!; status=$?
echo $status > $folder/status.$rank
exit $status
)";

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

pid_t start(std::vector<std::string> words, const std::map<std::string, std::string>& environment,
            const fs::path& errors) {
  const pid_t process = ::fork();
  if (process < 0) throw std::runtime_error("fork failed");
  if (process != 0) return process;
  ::setpgid(0, 0);
  for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
  const int file = ::open(errors.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(file, STDERR_FILENO);
  ::dup2(file, STDOUT_FILENO);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execvp(pointers[0], pointers.data());
  ::_exit(127);
}

void nap() {
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

constexpr double kLongest =
    400;  // seconds, on a machine that does other work too; a test that waits longer hangs

}  // namespace

bool can_launch(Launcher launcher) {
  return launcher == Launcher::variables || GORGON_TEST_MPI != 0;
}

Job::Job(Launcher launcher, int ranks, const std::string& program, const std::vector<std::string>& arguments,
         const std::map<std::string, std::string>& environment)
    : ranks_(ranks), started_(now()) {
  std::vector<std::string> words{"bash", "-c", kShell, "rank", folder_.path().string(), program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::map<std::string, std::string> variables = environment;
  const fs::path errors = folder_.path() / "launcher";
  if (launcher == Launcher::mpirun) {
    // Open MPI keeps memory of plug-ins that it has unloaded; leaks of ours are seen without it.
    const char* sanitizer = std::getenv("ASAN_OPTIONS");
    variables["ASAN_OPTIONS"] = (sanitizer == nullptr ? "" : std::string(sanitizer) + ":") + "detect_leaks=0";
    std::vector<std::string> all{
        "mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
        // Its SIGKILL comes a second behind its SIGTERM; on a busy machine that is short.
        "--mca", "odls_base_sigkill_timeout", "2",
        // Jobs side by side would remove one another's folder.
        "--mca", "orte_tmpdir_base", folder_.path().string(), "-np", std::to_string(ranks)};
    all.insert(all.end(), words.begin(), words.end());
    processes_.push_back(start(all, variables, errors));
    return;
  }
  variables["WORLD_SIZE"] = std::to_string(ranks);
  variables["MASTER_ADDR"] = "127.0.0.1";
  if (!variables.contains("MASTER_PORT"))
    variables["MASTER_PORT"] = std::to_string(Socket::listen(0).port());  // free a moment ago
  for (int r = 0; r < ranks; ++r) {
    variables["RANK"] = variables["LOCAL_RANK"] = std::to_string(r);
    processes_.push_back(start(words, variables, errors));
  }
}

Job::~Job() {
  for (const pid_t process : processes_) {
    if (process <= 0) continue;
    ::kill(-process, SIGKILL);
    ::waitpid(process, nullptr, 0);
  }
}

std::string Job::noted(const std::string& name, int rank) const {
  return text_of(folder_.path() / (name + "." + std::to_string(rank)));
}

pid_t Job::process_of(int rank) const {
  const double end = now() + kLongest;
  while (noted("pid", rank).empty() && now() < end) nap();
  if (!noted("status", rank).empty()) return 0;
  return std::atoi(noted("pid", rank).c_str());
}

void Job::signal_rank(int rank, int number) {
  const pid_t process = process_of(rank);
  if (process > 1) ::kill(process, number);
}

void Job::signal_group(int rank, int number) {
  if (process_of(rank) > 1) ::kill(-processes_.at(static_cast<size_t>(rank)), number);
}

void Job::kill_rank(int rank) {
  signal_rank(rank, SIGKILL);
}

std::vector<pid_t> Job::started_by(int rank) const {
  const pid_t parent = process_of(rank);
  std::map<int64_t, pid_t> found;  // by the time of its start
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string stat = text_of(entry.path() / "stat");
    const size_t name_end = stat.rfind(')');
    if (name_end == std::string::npos) continue;
    std::istringstream fields(stat.substr(name_end + 1));  // from the third on
    std::vector<std::string> words{std::istream_iterator<std::string>(fields), {}};
    constexpr size_t kParent = 4 - 3, kStart = 22 - 3;
    if (words.size() <= kStart || std::atoi(words[kParent].c_str()) != parent) continue;
    const pid_t process = std::atoi(entry.path().filename().c_str());
    found[std::atoll(words[kStart].c_str()) * (1 << 22) + process] = process;
  }
  std::vector<pid_t> processes;
  for (const auto& [start, process] : found) processes.push_back(process);
  return processes;
}

void Job::wait_for_statuses(const std::vector<int>& ranks) {
  const double end = now() + kLongest;
  for (const int rank : ranks) {
    while (noted("status", rank).empty() && now() < end) nap();
  }
}

JobResult Job::wait() {
  JobResult result;
  const double end = now() + kLongest;
  for (pid_t& process : processes_) {
    int status = 0;
    while (::waitpid(process, &status, WNOHANG) == 0 && now() < end) nap();
    if (now() >= end) break;
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    process = -1;
  }
  result.seconds = now() - started_;
  result.err = text_of(folder_.path() / "launcher");
  for (int r = 0; r < ranks_; ++r) {
    const std::string status = noted("status", r);
    result.statuses.push_back(status.empty() ? -1 : std::atoi(status.c_str()));
    result.out += noted("out", r);
    result.err += noted("err", r);
  }
  return result;
}

}  // namespace gorgon
