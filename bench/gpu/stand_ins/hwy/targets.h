#pragma once

// In place of Highway, for tests that try every instruction set of the CPU: plain loops have one.

#include <cstdint>
#include <vector>

namespace hwy {

inline std::vector<int64_t> SupportedAndGeneratedTargets() {
  return {0};
}
inline void SetSupportedTargetsForTest(int64_t) {}
inline const char* TargetName(int64_t) {
  return "plain loops";
}

}  // namespace hwy
