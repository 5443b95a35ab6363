#include "trainer/profile_table.h"

#include <fmt/format.h>

namespace gorgon {

namespace {

std::string line(const Profile::Part& part, double total) {
  const double calls = static_cast<double>(part.calls);
  const double cores = part.seconds > 0 ? part.cpu_seconds / part.seconds : 0.0;
  return fmt::format("{:<34} {:>9.3f} {:>6.1f}% {:>8} {:>11.3f} {:>6.2f}\n", part.name, part.seconds,
                     total > 0 ? 100.0 * part.seconds / total : 0.0, part.calls, 1e3 * part.seconds / calls,
                     cores);
}

}  // namespace

std::string profile_table(Profile& profile) {
  const std::vector<Profile::Part> parts = profile.parts();
  Profile::Part total{"total", 1, 0, 0};
  for (const Profile::Part& part : parts) {
    total.seconds += part.seconds;
    total.cpu_seconds += part.cpu_seconds;
  }
  std::string out = fmt::format("{:<34} {:>9} {:>7} {:>8} {:>11} {:>6}\n", "where the time went", "seconds",
                                "share", "calls", "ms a call", "cores");
  for (const Profile::Part& part : parts) out += line(part, total.seconds);
  return out + line(total, total.seconds);
}

}  // namespace gorgon
