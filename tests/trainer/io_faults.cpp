#include "tests/trainer/io_faults.h"

#include <cstdio>

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace gorgon::io_faults {
namespace {

enum class Mode { none, die, fail };
Mode g_mode = Mode::none;
int g_left = 0, g_error = 0;
std::string g_calls;

// Whether this call is to fail; does not return when the process is to die.
bool strikes(char call) {
  g_calls += call;
  if (g_mode == Mode::none || g_left-- > 0) return false;
  if (g_mode == Mode::die) ::_exit(kDeath);
  g_mode = Mode::none;
  errno = g_error;
  return true;
}

}  // namespace

void die_at(int call) {
  g_mode = Mode::die;
  g_left = call;
  g_calls.clear();
}

void fail_at(int call, int error) {
  g_mode = Mode::fail;
  g_left = call;
  g_calls.clear();
  g_error = error;
}

void none() {
  g_mode = Mode::none;
}

const std::string& calls() {
  return g_calls;
}

}  // namespace gorgon::io_faults

using gorgon::io_faults::strikes;

// Straight system calls: what the C library's wrappers do. Nothing is synced: no test here cuts the power,
// and a thousand syncs take a minute.
extern "C" {

ssize_t write(int descriptor, const void* data, size_t bytes) {
  return strikes('w') ? -1 : ::syscall(SYS_write, descriptor, data, bytes);
}
ssize_t pwrite(int descriptor, const void* data, size_t bytes, off_t at) {
  return strikes('p') ? -1 : ::syscall(SYS_pwrite64, descriptor, data, bytes, at);
}
int fallocate(int descriptor, int mode, off_t at, off_t bytes) {
  return strikes('a') ? -1 : static_cast<int>(::syscall(SYS_fallocate, descriptor, mode, at, bytes));
}
int fsync(int /*descriptor*/) {
  return strikes('f') ? -1 : 0;
}
int rename(const char* from, const char* to) noexcept {
  return strikes('r') ? -1 : static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int renameat2(int from_directory, const char* from, int to_directory, const char* to,
              unsigned flags) noexcept {
  return strikes('r')
             ? -1
             : static_cast<int>(::syscall(SYS_renameat2, from_directory, from, to_directory, to, flags));
}
int mkdir(const char* path, mode_t mode) noexcept {
  return strikes('m') ? -1 : static_cast<int>(::syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}
int unlinkat(int directory, const char* path, int flags) noexcept {
  return strikes('u') ? -1 : static_cast<int>(::syscall(SYS_unlinkat, directory, path, flags));
}

}  // extern "C"
