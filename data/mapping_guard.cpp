#include "data/mapping_guard.h"

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include <unistd.h>

#include "kernels/error.h"

namespace gorgon {

namespace {

// What the handler reads; the line is written when the file is mapped, since a handler may not allocate.
struct Mapping {
  std::atomic<const std::byte*> begin{nullptr};  // null: free
  std::atomic<size_t> size{0};
  std::atomic<const char*> line{nullptr};
};

struct Guard {
  std::mutex mutex;                    // of those who map
  std::array<Mapping, 1024> mappings;  // files beyond that many at a time are not guarded
};

Guard& guard() {
  static Guard instance;
  return instance;
}

void on_bus_error(int, siginfo_t* info, void*) {
  const auto* at = static_cast<const std::byte*>(info->si_addr);
  for (const Mapping& mapping : guard().mappings) {
    const std::byte* begin = mapping.begin.load();
    if (begin == nullptr || at < begin || at >= begin + mapping.size.load()) continue;
    const char* line = mapping.line.load();
    if (line != nullptr) [[maybe_unused]]
      const ssize_t n = ::write(STDERR_FILENO, line, std::strlen(line));
    ::_exit(static_cast<int>(ExitCode::resource));
  }
  std::signal(SIGBUS, SIG_DFL);  // not ours: the instruction is repeated and ends the process
}

void install_handler() {
  struct sigaction action {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace

void guard_mapping(std::span<const std::byte> bytes, const std::string& path) {
  const std::string line =
      "error: " + path + ": expected " + std::to_string(bytes.size()) +
      " bytes as when it was opened, found fewer while reading; do not change the file during a run\n";
  Guard& g = guard();
  const std::lock_guard lock(g.mutex);
  static const bool installed = (install_handler(), true);
  static_cast<void>(installed);
  for (Mapping& mapping : g.mappings) {
    if (mapping.begin.load() != nullptr) continue;
    mapping.line.store(::strdup(line.c_str()));
    mapping.size.store(bytes.size());
    mapping.begin.store(bytes.data());
    return;
  }
}

void release_mapping(std::span<const std::byte> bytes) {
  Guard& g = guard();
  const std::lock_guard lock(g.mutex);
  for (Mapping& mapping : g.mappings) {
    if (mapping.begin.load() != bytes.data()) continue;
    mapping.begin.store(nullptr);
    std::free(const_cast<char*>(mapping.line.exchange(nullptr)));
    return;
  }
}

}  // namespace gorgon
