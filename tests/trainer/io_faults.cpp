#include "tests/trainer/io_faults.h"

#include <cstdio>
#include <utility>

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
bool g_recording = false;
std::vector<Call> g_recorded;

std::string path_of(int descriptor) {
  char path[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t length = ::readlink(link.c_str(), path, sizeof path);
  return {path, static_cast<size_t>(length > 0 ? length : 0)};
}

std::string path_in(int directory, const char* path) {
  return directory == AT_FDCWD || *path == '/' ? path : path_of(directory) + "/" + path;
}

// Passes the result of a call on.
template <typename Result>
Result recorded(Result result, const Call& call) {
  if (result >= 0 && g_recording) g_recorded.push_back(call);
  return result;
}

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

void start_recording() {
  g_recording = true;
  g_recorded.clear();
}

std::vector<Call> take_recording() {
  g_recording = false;
  return std::exchange(g_recorded, {});
}

}  // namespace gorgon::io_faults

namespace faults = gorgon::io_faults;
using faults::recorded;
using faults::strikes;

// Straight system calls: what the C library's wrappers do. Nothing is synced: where the power is cut, a test
// does so in a model of the disk (power_loss_test.cpp), and a thousand syncs take a minute.
extern "C" {

ssize_t write(int descriptor, const void* data, size_t bytes) {
  if (strikes('w')) return -1;
  const off_t at = faults::g_recording ? ::lseek(descriptor, 0, SEEK_CUR) : 0;
  const ssize_t written = ::syscall(SYS_write, descriptor, data, bytes);
  if (!faults::g_recording || written < 0) return written;
  return recorded(written, {'w', faults::path_of(descriptor), "", at,
                            std::string(static_cast<const char*>(data), static_cast<size_t>(written))});
}
ssize_t pwrite(int descriptor, const void* data, size_t bytes, off_t at) {
  return strikes('p') ? -1 : ::syscall(SYS_pwrite64, descriptor, data, bytes, at);
}
int fallocate(int descriptor, int mode, off_t at, off_t bytes) {
  return strikes('a') ? -1 : static_cast<int>(::syscall(SYS_fallocate, descriptor, mode, at, bytes));
}
int fsync(int descriptor) {
  if (strikes('f')) return -1;
  return faults::g_recording ? recorded(0, {'f', faults::path_of(descriptor), "", 0, ""}) : 0;
}
int rename(const char* from, const char* to) noexcept {
  if (strikes('r')) return -1;
  return recorded(static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0)),
                  {'r', from, to, 0, ""});
}
int renameat2(int from_directory, const char* from, int to_directory, const char* to,
              unsigned flags) noexcept {
  if (strikes('r')) return -1;
  return recorded(static_cast<int>(::syscall(SYS_renameat2, from_directory, from, to_directory, to, flags)),
                  {(flags & RENAME_EXCHANGE) != 0 ? 'x' : 'r', faults::path_in(from_directory, from),
                   faults::path_in(to_directory, to), 0, ""});
}
int mkdir(const char* path, mode_t mode) noexcept {
  if (strikes('m')) return -1;
  return recorded(static_cast<int>(::syscall(SYS_mkdirat, AT_FDCWD, path, mode)), {'m', path, "", 0, ""});
}
int unlinkat(int directory, const char* path, int flags) noexcept {
  if (strikes('u')) return -1;
  return recorded(static_cast<int>(::syscall(SYS_unlinkat, directory, path, flags)),
                  {'u', faults::path_in(directory, path), "", 0, ""});
}

}  // extern "C"
