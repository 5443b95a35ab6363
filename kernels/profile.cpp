#include "kernels/profile.h"

#include <algorithm>
#include <ctime>

namespace gorgon {

namespace {

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

Profile::Profile()
    : parts_{{kElsewhere, 1, 0, 0}},
      open_{0},
      last_(std::chrono::steady_clock::now()),
      last_cpu_seconds_(cpu_seconds()) {}

size_t Profile::index_of(const char* name) {
  const auto found =
      std::find_if(parts_.begin(), parts_.end(), [name](const Part& part) { return part.name == name; });
  if (found != parts_.end()) return static_cast<size_t>(found - parts_.begin());
  parts_.push_back({name, 0, 0, 0});
  return parts_.size() - 1;
}

void Profile::account() {
  const auto now = std::chrono::steady_clock::now();
  const double cpu = cpu_seconds();
  Part& part = parts_[open_.back()];
  part.seconds += std::chrono::duration<double>(now - last_).count();
  part.cpu_seconds += cpu - last_cpu_seconds_;
  last_ = now;
  last_cpu_seconds_ = cpu;
}

void Profile::enter(const char* name) {
  account();
  open_.push_back(index_of(name));
  ++parts_[open_.back()].calls;
}

void Profile::leave() {
  account();
  open_.pop_back();
}

std::vector<Profile::Part> Profile::parts() {
  account();
  std::vector<Part> sorted = parts_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Part& a, const Part& b) { return a.seconds > b.seconds; });
  return sorted;
}

void ProfileScope::enter(const char* name) const {
  stream_.synchronize();
  stream_.profile()->enter(name);
}

void ProfileScope::leave() const noexcept {
  stream_.synchronize();
  stream_.profile()->leave();
}

}  // namespace gorgon
