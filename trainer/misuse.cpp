#include "trainer/misuse.h"

#include <algorithm>

#include <fmt/format.h>

#include "kernels/error.h"
#include "trainer/config_value.h"

namespace gorgon {

std::string describe_misuse(const std::string& problem, const std::string& first,
                            const std::vector<std::string>& commands) {
  if (std::find(commands.begin(), commands.end(), first) != commands.end()) {
    return fmt::format("{}; gorgon {} --help shows what there is", problem, first);
  }
  if (first.empty()) return "expected a command, found none; gorgon --help shows what there is";
  if (first.starts_with("-")) return problem + "; gorgon --help shows what there is";
  const std::string nearest = nearest_name(first, commands);
  return fmt::format("expected a command, found {}; {}gorgon --help shows what there is", quote_value(first),
                     nearest.empty() ? "" : "did you mean " + nearest + "? ");
}

}  // namespace gorgon
