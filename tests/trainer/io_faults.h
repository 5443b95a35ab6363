#pragma once

#include <cerrno>
#include <string>

// Faults in the calls that change the disk. The test program's own write, fsync, rename and the like stand
// before the C library's (io_faults.cpp): after a countdown, a call ends the process or fails.
namespace gorgon::io_faults {

constexpr int kDeath = 99;  // exit status of a process that died at its call

void die_at(int call);              // as if killed right before the call-th one, from 0
void fail_at(int call, int error);  // the call-th one fails with this errno, once
void none();

// The calls since the last die_at or fail_at, a letter each: the first letter of their names.
const std::string& calls();

}  // namespace gorgon::io_faults
