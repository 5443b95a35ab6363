#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/fp8_linear.h"
#include "tests/emulation/device_memory.h"
#include "tests/kernels/on_device.h"

namespace gorgon {
namespace {

using testing::HasSubstr;

struct OtherChip {
  OtherChip(int major, int minor) { emulation::host_calls().capability[0] = major, set_minor(minor); }
  ~OtherChip() { emulation::host_calls().capability[0] = 9, set_minor(0); }
  static void set_minor(int minor) { emulation::host_calls().capability[1] = minor; }
};

std::string refusal(Device device) {
  try {
    check_fp8(device);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::config);
    return error.what();
  }
  return "accepted";
}

TEST(Fp8, IsRefusedInOneLineWhereNothingMultipliesIt) {
  EXPECT_EQ(refusal(test_device()), "accepted");
  EXPECT_THAT(refusal({}), HasSubstr("fp8: expected a GPU of compute capability 8.9 or later, found cpu"));
  const OtherChip ampere(8, 6);
  EXPECT_FALSE(has_fp8(test_device()));
  EXPECT_THAT(refusal(test_device()), HasSubstr("found cuda:0 of 8.6"));
  const OtherChip ada(8, 9);
  EXPECT_TRUE(has_fp8(test_device()));
}

}  // namespace
}  // namespace gorgon
