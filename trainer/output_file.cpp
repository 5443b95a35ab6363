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

void require_new_directory(const fs::path& directory) {
  std::error_code error;
  if (fs::exists(directory, error)) {
    const bool is_directory = fs::is_directory(directory, error);
    if (!is_directory || !fs::is_empty(directory, error)) {
      fail(ExitCode::config,
           {directory.string(), "--output", "an empty or new directory",
            is_directory ? "a directory with files" : "a file", "remove it or choose another place"});
    }
  }
  // The nearest directory above that is there: in it the others, and the staged one, are made.
  fs::path above = fs::absolute(directory).lexically_normal();
  if (!above.has_filename()) above = above.parent_path();  // "DIR/"
  do {
    above = above.parent_path();
  } while (!fs::exists(above, error) && above.has_relative_path());
  const bool is_directory = fs::is_directory(above, error);
  if (is_directory && ::access(above.c_str(), W_OK | X_OK) == 0) return;
  fail(ExitCode::resource,
       {directory.string(), "--output", "a place for a new directory",
        above.string() + ": " + std::strerror(is_directory ? errno : ENOTDIR), "choose another place"});
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
