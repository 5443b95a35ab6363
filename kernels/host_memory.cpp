#include "kernels/host_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace gorgon {

namespace {

// The number behind `key` in a file of /proc; -1 where there is none.
int64_t number_in(const char* path, const char* key) noexcept {
  char text[4096];
  const int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  const ssize_t bytes = ::read(file, text, sizeof text - 1);
  ::close(file);
  if (bytes <= 0) return -1;
  text[bytes] = '\0';
  const char* found = std::strstr(text, key);
  return found == nullptr ? -1 : std::atoll(found + std::strlen(key));
}

}  // namespace

std::optional<int64_t> free_host_bytes() noexcept {
  constexpr int64_t kKibibyte = 1024;
  std::optional<int64_t> free;
  if (const int64_t available = number_in("/proc/meminfo", "MemAvailable:"); available >= 0)
    free = available * kKibibyte;
  rlimit limit = {};
  const int64_t used = number_in("/proc/self/status", "VmSize:");
  if (used < 0 || ::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return free;
  const int64_t left = std::max<int64_t>(0, static_cast<int64_t>(limit.rlim_cur) - used * kKibibyte);
  return free ? std::min(*free, left) : left;
}

}  // namespace gorgon
