#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/device.h"

namespace gorgon {

// Where the wall time goes: every moment since the profile was made belongs to exactly one part, the
// innermost ProfileScope open at that moment or kElsewhere, so that the parts add up to the whole. Filled by
// the one thread that uses the stream; what the pool's workers do meanwhile is counted as their busy time.
class Profile {
 public:
  static constexpr const char* kElsewhere = "everything else";

  struct Part {
    std::string name;
    int64_t calls = 0;
    double seconds = 0;      // wall time, without the parts opened inside
    double cpu_seconds = 0;  // likewise, summed over the threads of the process
  };

  Profile();

  // Parts with the longest first, as of now.
  std::vector<Part> parts();

 private:
  friend class ProfileScope;
  size_t index_of(const char* name);
  void enter(const char* name);
  void leave();
  void account();  // all since the last call to the part at work

  std::vector<Part> parts_;
  std::vector<size_t> open_;  // innermost last
  std::chrono::steady_clock::time_point last_;
  double last_cpu_seconds_;
};

// Counts its own life as part `name` of the stream's profile; a stream without one makes it a null test. On a
// GPU the stream is waited for at both ends, so that time is counted where it is spent.
class ProfileScope {
 public:
  ProfileScope(const Stream& stream, const char* name) : stream_(stream) {
    if (stream.profile() != nullptr) enter(name);
  }
  ~ProfileScope() {
    if (stream_.profile() != nullptr) leave();
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  void enter(const char* name) const;
  void leave() const noexcept;

  const Stream& stream_;
};

}  // namespace gorgon
