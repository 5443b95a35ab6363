#include "trainer/profile_table.h"

#include <chrono>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>

namespace gorgon {
namespace {

TEST(ProfileTable, RowsAddUpToTheTotalWhichIsTheWallTime) {
  const auto begin = std::chrono::steady_clock::now();
  Profile profile;
  Stream stream({}, 1);
  stream.set_profile(&profile);
  for (const char* name : {"first part", "second part", "first part"}) {
    const ProfileScope scope(stream, name);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  std::istringstream table(profile_table(profile));
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::string line;
  std::getline(table, line);
  EXPECT_TRUE(line.starts_with("where the time went")) << line;
  double sum = 0, total = 0, first = 0;
  while (std::getline(table, line)) {
    double seconds = 0;
    std::istringstream(line.substr(34)) >> seconds;
    (line.starts_with("total") ? total : sum) += seconds;
    if (line.starts_with("first part")) first = seconds;
  }
  EXPECT_NEAR(sum, total, 0.0005 * 4);  // three rows and the total, printed to half a millisecond
  EXPECT_GE(first, 0.0195);             // twice 10 ms
  EXPECT_GE(total, 0.0295);
  EXPECT_LE(total, wall + 0.0005);
}

}  // namespace
}  // namespace gorgon
