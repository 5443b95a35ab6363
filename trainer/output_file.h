#pragma once

#include <filesystem>

#include "data/file_lock.h"

namespace gorgon {

// For files that are written at the end of long work: Error(resource), naming --output, where `path` cannot
// be written (no such directory, a read-only one, a directory in its place). Touches nothing.
void require_writable(const std::filesystem::path& path);

// For directories that appear at the end of long work: Error(config) for a file or a directory with files,
// Error(resource) where none can be made. Touches nothing.
void require_new_directory(const std::filesystem::path& directory);

// PATH.lock, for a file that grows: at most one process writes it. Error(resource) naming the holder, or
// where the directory cannot be written.
FileLock lock_output(const std::filesystem::path& path);

}  // namespace gorgon
