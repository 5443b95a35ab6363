#include "kernels/profile.h"

#include <atomic>
#include <chrono>
#include <ctime>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "kernels/thread_pool.h"

namespace gorgon {
namespace {

using Clock = std::chrono::steady_clock;

void spend(std::chrono::milliseconds time) {
  std::this_thread::sleep_for(time);
}

const Profile::Part& part(const std::vector<Profile::Part>& parts, const std::string& name) {
  for (const Profile::Part& p : parts) {
    if (p.name == name) return p;
  }
  throw std::runtime_error("no part " + name);
}

TEST(Profile, EveryMomentBelongsToTheInnermostPart) {
  Stream stream({}, 1);
  const auto begin = Clock::now();
  Profile profile;
  stream.set_profile(&profile);
  spend(std::chrono::milliseconds(20));
  for (int i = 0; i < 3; ++i) {
    const ProfileScope outer(stream, "outer");
    {
      const ProfileScope inner(stream, "inner");
      spend(std::chrono::milliseconds(10));
    }
  }
  const std::vector<Profile::Part> parts = profile.parts();
  const double wall = std::chrono::duration<double>(Clock::now() - begin).count();
  // Sleeping never takes less than asked; what lies between the sleeps is counted somewhere, but only once.
  EXPECT_EQ(part(parts, "inner").calls, 3);
  EXPECT_EQ(part(parts, "outer").calls, 3);
  EXPECT_GE(part(parts, "inner").seconds, 0.030);
  EXPECT_GE(part(parts, Profile::kElsewhere).seconds, 0.020);
  double sum = 0;
  for (const Profile::Part& p : parts) sum += p.seconds;
  EXPECT_LE(sum, wall);
  EXPECT_GE(part(parts, "outer").seconds, 0.0);
  EXPECT_LE(part(parts, "outer").seconds, wall - 0.050);
}

TEST(Profile, CountsTheTimeOfAllThreads) {
  Stream stream({}, 3);
  Profile profile;
  stream.set_profile(&profile);
  const auto cpu_of_thread = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  {
    const ProfileScope scope(stream, "work");
    // Three bodies that wait for each other: each of the three threads takes one and works 20 ms of its own.
    std::atomic<int> started{0};
    stream.threads().parallel_for(3, [&](int64_t) {
      ++started;
      while (started < 3) std::this_thread::yield();
      for (const double begin = cpu_of_thread(); cpu_of_thread() < begin + 0.020;) {
      }
    });
  }
  EXPECT_GE(part(profile.parts(), "work").cpu_seconds, 0.060);
}

TEST(Profile, AStreamWithoutOneCountsNothing) {
  const Stream stream({}, 1);
  const ProfileScope scope(stream, "nothing");
  EXPECT_EQ(stream.profile(), nullptr);
}

}  // namespace
}  // namespace gorgon
