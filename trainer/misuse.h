#pragma once

#include <string>
#include <vector>

namespace gorgon {

// One line about a command line that cannot be read: `problem`, and which help tells more. `first`: the first
// word, "" where there is none; what is no command is answered with the nearest one.
std::string describe_misuse(const std::string& problem, const std::string& first,
                            const std::vector<std::string>& commands);

}  // namespace gorgon
