#pragma once

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

// Faults in the calls that change the disk. The test program's own write, fsync, rename and the like stand
// before the C library's (io_faults.cpp): after a countdown, a call ends the process or fails.
namespace gorgon::io_faults {

constexpr int kDeath = 99;  // exit status of a process that died at its call

void die_at(int call);              // as if killed right before the call-th one, from 0
void fail_at(int call, int error);  // the call-th one fails with this errno, once
void none();

// The calls since the last die_at or fail_at, a letter each: the first letter of their names.
const std::string& calls();

// A call that succeeded: (w)rite of `data` at a byte, (f)sync, (r)ename or e(x)change of `path` and `to`,
// (m)kdir, (u)nlink. Paths are absolute where the caller's are.
struct Call {
  char kind;
  std::string path, to;
  int64_t at;
  std::string data;
};
void start_recording();
std::vector<Call> take_recording();  // ends it

}  // namespace gorgon::io_faults
