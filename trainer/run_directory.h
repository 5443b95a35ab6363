#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "data/file_lock.h"

namespace gorgon {

constexpr const char* kLogs = "logs";  // of ranks, in a run's directory
// PromptHashes of what the heads of a run or of an export were trained on. No engine reads a file of that
// name.
constexpr const char* kTrainedPrompts = "trained_prompts";

// The directory of a run, held by one process at a time. Making one creates the directory where it is missing
// and takes its lock: Error(resource) when it cannot be written or another process holds it (named). What was
// created here and is still empty at the end is removed again, so that a refused run leaves nothing behind.
class RunDirectory {
 public:
  explicit RunDirectory(const std::filesystem::path& path);
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  void keep() { kept_ = true; }
  // What is prepared stays, even if nothing else is ever kept here.
  void keep_prepared() { had_prepared_ = true; }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path prepared() const { return path_ / "prepared"; }

  // Whether an earlier run left anything here (config.yaml, checkpoints, metrics or heads).
  bool holds_run() const;
  // Throws Error(config) when something lies here that is not gorgon's.
  void refuse_foreign_files() const;
  // Removes an earlier run; prepared data, logs and foreign files stay.
  void clear();

 private:
  void remove_what_is_empty() const;

  std::filesystem::path path_;
  std::filesystem::path first_created_;  // the topmost directory that was made here; empty = none
  bool had_prepared_ = false;
  bool kept_ = false;
  std::optional<FileLock> lock_;
};

}  // namespace gorgon
