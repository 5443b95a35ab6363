#include "trainer/local_ranks.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/error.h"
#include "kernels/ranks/launch_environment.h"
#include "kernels/ranks/socket.h"

namespace gorgon {
namespace {

constexpr int kMaxLocalRanks = 256;
// What the handler reads; a handler has no other way to know.
std::atomic<pid_t> g_ranks[kMaxLocalRanks];

extern "C" void pass_on(int signal) {
  for (const std::atomic<pid_t>& rank : g_ranks) {
    const pid_t process = rank.load();
    if (process > 0) ::kill(process, signal);
  }
}

void set_variable(const char* name, int value) {
  ::setenv(name, std::to_string(value).c_str(), 1);
}

// Ctrl-Z stops the whole job, fg and bg let it go on.
extern "C" void stop_with_ranks(int) {
  pass_on(SIGTSTP);
  ::raise(SIGSTOP);
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

// In the child; does not return.
void become_rank(int rank, int count, const Socket& listener, int argc, const char* const* argv) {
  // A terminal's Ctrl-C and a signal to the launcher's group reach a rank once, through the launcher: the
  // second copy would end it before it has saved.
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // a launcher that is killed leaves nobody behind
  set_variable(kLocalRanksVariable, count);
  ::setenv(kJobVariable, ("--gpus of process " + std::to_string(::getppid())).c_str(), 1);
  set_variable("RANK", rank);
  set_variable("LOCAL_RANK", rank);
  set_variable("WORLD_SIZE", count);
  ::setenv("MASTER_ADDR", "127.0.0.1", 1);
  set_variable("MASTER_PORT", listener.port());
  if (rank == 0) {
    ::fcntl(listener.descriptor(), F_SETFD, 0);
    set_variable(kListeningVariable, listener.descriptor());
  }
  std::vector<std::string> words(argv, argv + argc);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execv("/proc/self/exe", pointers.data());
  ::_exit(static_cast<int>(ExitCode::resource));
}

int status_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : static_cast<int>(ExitCode::peer);
}

bool failed(int status) {
  return status != 0 && status != static_cast<int>(ExitCode::preempted);
}

// The next rank that ends, with its status; nothing where none has within a moment and `patient` is false.
std::optional<std::pair<int, int>> next_ended(bool patient) {
  int status = 0;
  const pid_t process = ::waitpid(-1, &status, patient ? 0 : WNOHANG);
  if (process == 0) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  if (process <= 0) return std::nullopt;
  auto* ended = std::find_if(std::begin(g_ranks), std::end(g_ranks),
                             [&](const auto& rank) { return rank.load() == process; });
  if (ended == std::end(g_ranks)) return std::nullopt;
  *ended = 0;
  return std::pair(static_cast<int>(ended - std::begin(g_ranks)), status_of(status));
}

int wait_for_ranks(int count) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kGrace = std::chrono::seconds(10);  // the others learn of a lost rank within one
  int first = 0, other = 0;
  std::optional<Clock::time_point> failure;
  for (int left = count; left > 0;) {
    if (failure && Clock::now() - *failure > kGrace) pass_on(SIGKILL);
    const auto ended = next_ended(!failure);
    if (!ended) continue;
    --left;
    const auto [rank, status] = *ended;
    if (failed(status) && !failure) failure = Clock::now();
    int& place = rank == 0 ? first : other;
    if (place == 0) place = status;
  }
  return first != 0 ? first : other;
}

}  // namespace

int run_local_ranks(int count, int argc, const char* const* argv) {
  const Socket listener = Socket::listen(0);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGCONT}) handle(signal, pass_on);
  handle(SIGTSTP, stop_with_ranks);
  for (int rank = 0; rank < count; ++rank) {
    const pid_t process = ::fork();
    if (process == 0) become_rank(rank, count, listener, argc, argv);
    if (process < 0) {
      const std::string error = std::strerror(errno);
      pass_on(SIGTERM);
      fail(ExitCode::resource, {"--gpus", "", std::to_string(count) + " processes", error, "start fewer"});
    }
    g_ranks[rank] = process;
  }
  return wait_for_ranks(count);
}

}  // namespace gorgon
