#include "trainer/output_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <unistd.h>

#include "kernels/error.h"

namespace gorgon {

namespace fs = std::filesystem;

void require_writable(const fs::path& path) {
  const auto refuse = [&](const std::string& found) {
    fail(ExitCode::resource,
         {path.string(), "--output", "a file that can be written", found, "choose another place"});
  };
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code error;
  if (fs::is_directory(path, error)) refuse("a directory");
  if (!fs::is_directory(folder, error)) refuse("no directory " + quote_value(folder.string()));
  // A file appears by renaming, so that the folder alone must be writable.
  if (::access(folder.c_str(), W_OK | X_OK) != 0) refuse(std::strerror(errno));
}

FileLock lock_output(const fs::path& path) {
  require_writable(path);
  const fs::path file = path.string() + ".lock";
  std::optional<FileLock> lock = FileLock::try_take(file);
  if (!lock) {
    fail(ExitCode::resource,
         {path.string(), "--output", "a file that is free", "one in use by " + FileLock::holder(file),
          "wait for it or choose another name"});
  }
  return std::move(*lock);
}

}  // namespace gorgon
