#include "trainer/run_directory.h"

#include <vector>

#include "data/file.h"
#include "kernels/error.h"
#include "trainer/checkpoint.h"
#include "trainer/report_page.h"
#include "trainer/reports.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLock = ".lock";

// Files of a run at the top of its directory, but for checkpoints.
const std::vector<std::string>& run_files() {
  static const std::vector<std::string> names = {
      "config.yaml", kMetricsFile, kEventFile,     "medusa_heads.safetensors", "config.json", "tree.json",
      kEvalFile,     kReportFile,  kTrainedPrompts};
  return names;
}

bool is_checkpoint_name(const std::string& name) {
  return name.starts_with("checkpoint-") || name.starts_with(".checkpoint-");
}

bool is_own(const std::string& name) {
  for (const std::string& file : run_files()) {
    if (name == file || name.starts_with("." + file + ".tmp-")) return true;
  }
  return is_checkpoint_name(name) || name == "prepared" || name == kLogs || name == kLock;
}

fs::path first_missing(const fs::path& path) {
  fs::path missing;
  for (fs::path at = fs::absolute(path).lexically_normal(); !fs::exists(at) && at.has_relative_path();
       at = at.parent_path()) {
    missing = at;
  }
  return missing;
}

}  // namespace

RunDirectory::RunDirectory(const fs::path& path) : path_(path) {
  first_created_ = first_missing(path_);
  had_prepared_ = fs::exists(prepared());
  std::error_code error;
  fs::create_directories(path_, error);
  if (error || !fs::is_directory(path_)) {
    fail(ExitCode::resource, {path_.string(), "", "a directory that can be written",
                              error ? error.message() : "a file", "choose another output_dir"});
  }
  lock_ = FileLock::try_take(path_ / kLock);
  if (lock_) return;
  fail(ExitCode::resource,
       {path_.string(), "", "a run directory that is free",
        "one in use by " + FileLock::holder(path_ / kLock), "wait for it or choose another output_dir"});
}

RunDirectory::~RunDirectory() {
  lock_.reset();
  if (kept_) return;
  try {
    remove_what_is_empty();
  } catch (const std::exception&) {
    // empty directories are left behind
  }
}

void RunDirectory::remove_what_is_empty() const {
  std::error_code ignored;
  if (!had_prepared_) fs::remove_all(prepared(), ignored);
  fs::remove(prepared(), ignored);  // where it is empty
  if (first_created_.empty()) return;
  for (fs::path at = fs::absolute(path_).lexically_normal();; at = at.parent_path()) {
    if (!fs::remove(at, ignored) || at == first_created_)
      return;  // removes a directory only when it is empty
  }
}

bool RunDirectory::holds_run() const {
  for (const std::string& file : run_files()) {
    if (fs::exists(path_ / file)) return true;
  }
  return !list_checkpoints(path_).empty();
}

void RunDirectory::refuse_foreign_files() const {
  for (const auto& entry : fs::directory_iterator(path_)) {
    const std::string name = entry.path().filename().string();
    if (is_own(name)) continue;
    fail(ExitCode::config, {path_.string(), "output_dir", "an empty directory, or a run of gorgon",
                            quote_value(name) + " in it", "choose another output_dir or add --force"});
  }
}

void RunDirectory::clear() {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path_)) {
    const std::string name = entry.path().filename().string();
    if (is_own(name) && name != "prepared" && name != kLogs && name != kLock) found.push_back(entry.path());
  }
  for (const fs::path& path : found) fs::remove_all(path);
}

}  // namespace gorgon
