#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace gorgon {

// Reading a page behind the end of a file that was shortened after it was mapped raises SIGBUS. Between these
// two calls such a read ends the process with one line that names the file and status 6 instead. A signal
// handler belongs to the whole process, so this is the one place of the folder that keeps state of its own;
// it is installed by the first mapping. Other causes of SIGBUS keep their default action.
void guard_mapping(std::span<const std::byte> bytes, const std::string& path);
void release_mapping(std::span<const std::byte> bytes);

}  // namespace gorgon
