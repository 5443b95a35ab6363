#include "trainer/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>  // renameat2
#include <unistd.h>

#include "data/file.h"
#include "data/json.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kFormat = 1;
constexpr const char* kManifest = "manifest.json";
constexpr const char* kState = "state.json";
constexpr std::string_view kPrefix = "checkpoint-";
constexpr std::string_view kTemporaryPrefix = ".checkpoint-";  // being written, or being removed
constexpr int64_t kMaxInt = std::numeric_limits<int64_t>::max();

[[noreturn]] void damaged(const fs::path& path, const std::string& expected, const std::string& found) {
  fail(ExitCode::checkpoint, {path.string(), "", expected, found, ""});
}

JsonOptions json_options(const fs::path& path) {
  JsonOptions options;
  options.file = path.string();
  options.code = ExitCode::checkpoint;
  options.reject_duplicate_keys = true;
  return options;
}

void sync_file(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const int result = descriptor < 0 ? -1 : ::fsync(descriptor);
  const std::string error = result != 0 ? std::system_category().message(errno) : "";
  if (descriptor >= 0) ::close(descriptor);
  // Never tried again: after a failed fsync the kernel may have dropped the pages.
  if (result != 0) fail(ExitCode::resource, {path.string(), "", "to sync it", error, ""});
}

std::vector<std::string> file_names(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// The manifest's own sum is that of its text without the sum.
std::string manifest_text(Json manifest) {
  manifest.erase("sha256");
  manifest["sha256"] = sha256_of(manifest.dump(1));
  return manifest.dump(1) + "\n";
}

void write_manifest(const fs::path& directory, const TrainingState& state) {
  Json files = Json::object();
  for (const std::string& name : file_names(directory)) {
    const fs::path path = directory / name;
    sync_file(path);
    files[name] = {{"bytes", fs::file_size(path)}, {"sha256", sha256_of_file(path, ExitCode::resource)}};
  }
  const Json manifest = {{"format", kFormat},
                         {"step", state.step},
                         {"files", files},
                         {"model", state.model_fingerprint},
                         {"data", state.data_fingerprint}};
  write_atomically(directory / kManifest, manifest_text(manifest));
}

// A directory leaves its name in one step, so that a kill never leaves half a checkpoint under it.
void remove_checkpoint(const fs::path& checkpoint) {
  const fs::path leaving = checkpoint.parent_path() / ("." + checkpoint.filename().string() + ".removed");
  std::error_code error;
  fs::remove_all(leaving, error);
  fs::rename(checkpoint, leaving, error);
  if (!error) fs::remove_all(leaving, error);
}

// Removes a directory when the scope is left before it was kept.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(fs::path path) : path_(std::move(path)) {
    std::error_code error;
    if (!fs::create_directory(path_, error)) {
      fail(ExitCode::resource, {path_.string(), "", "to make a directory", error.message(), ""});
    }
  }
  ~TemporaryDirectory() {
    if (kept_) return;
    try {
      fs::remove_all(path_);
    } catch (const std::exception&) {
      // left behind; the next start removes it
    }
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const fs::path& path() const { return path_; }
  // A directory that has the name already changes places with this one and is removed, so that at no moment
  // there is none. (Where the file system cannot exchange: it leaves first.)
  void keep_as(const fs::path& name) {
    std::error_code error;
    if (fs::exists(name)) {
      if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, name.c_str(), RENAME_EXCHANGE) == 0) return;
      remove_checkpoint(name);
    }
    fs::rename(path_, name, error);
    if (error) fail(ExitCode::resource, {name.string(), "", "to rename to it", error.message(), ""});
    kept_ = true;
  }

 private:
  fs::path path_;
  bool kept_ = false;
};

bool is_hexadecimal(const std::string& text) {
  return text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

void check_file(const fs::path& path, const Json& entry, const JsonOptions& options) {
  const auto bytes = static_cast<uintmax_t>(json_int(entry, "bytes", 0, kMaxInt, options));
  const std::string sum = json_string(entry, "sha256", options);
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) damaged(path, fmt::format("a file of {} bytes", bytes), error.message());
  if (size != bytes) damaged(path, fmt::format("{} bytes", bytes), fmt::format("{} bytes", size));
  const std::string found = sha256_of_file(path, ExitCode::checkpoint);
  if (found != sum) damaged(path, "SHA-256 " + (is_hexadecimal(sum) ? sum : quote_value(sum)), found);
}

// A copy of an earlier checkpoint, or a link to it, under a later step's name would lose the steps between.
void check_step(const CheckpointName& checkpoint) {
  const int64_t step = load_training_state(checkpoint.path).step;
  if (step == checkpoint.step) return;
  damaged(checkpoint.path, fmt::format("the checkpoint of step {}", checkpoint.step),
          fmt::format("that of step {}", step));
}

std::vector<std::string> names_of(const Json& files) {
  std::vector<std::string> names;
  for (const auto& item : files.items()) names.push_back(item.key());
  return names;
}

}  // namespace

std::string to_json(const TrainingState& state) {
  const Json json = {{"step", state.step},
                     {"adam_steps", state.adam_steps},
                     {"epoch", state.loader.epoch},
                     {"cursor", state.loader.cursor},
                     {"shuffle_key", std::to_string(state.loader.key)},
                     {"seed", std::to_string(state.seed)},
                     {"metric", state.metric},
                     {"best_metric", state.best_metric},
                     {"best_step", state.best_step},
                     {"evaluated_step", state.evaluated_step},
                     {"stale_evaluations", state.stale_evaluations},
                     {"nonfinite_steps", state.nonfinite_steps},
                     {"stopped_early", state.stopped_early ? 1 : 0},
                     {"metrics_bytes", state.metrics_bytes},
                     {"event_bytes", state.event_bytes},
                     {"config", state.config},
                     {"model_fingerprint", state.model_fingerprint},
                     {"data_fingerprint", state.data_fingerprint}};
  return json.dump(1) + "\n";
}

TrainingState parse_training_state(const std::string& text, const std::string& file) {
  const JsonOptions options = json_options(file);
  const Json json = parse_json(text, options);
  const auto integer = [&](const char* key) { return json_int(json, key, 0, kMaxInt, options); };
  const auto unsigned_text = [&](const char* key) {
    const std::string digits = json_string(json, key, options);
    uint64_t value = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (result.ec != std::errc())
      fail(ExitCode::checkpoint, {file, key, "an integer", quote_value(digits), ""});
    return value;
  };
  TrainingState state;
  state.step = integer("step");
  state.adam_steps = integer("adam_steps");
  state.loader = {integer("epoch"), integer("cursor"), unsigned_text("shuffle_key")};
  state.seed = unsigned_text("seed");
  state.metric = json_string(json, "metric", options);
  state.best_metric = json_number(json, "best_metric", options);
  state.best_step = integer("best_step");
  state.evaluated_step = integer("evaluated_step");
  state.stale_evaluations = integer("stale_evaluations");
  state.nonfinite_steps = integer("nonfinite_steps");
  state.stopped_early = integer("stopped_early") != 0;
  state.metrics_bytes = integer("metrics_bytes");
  state.event_bytes = integer("event_bytes");
  state.config = json_string(json, "config", options);
  state.model_fingerprint = json_string(json, "model_fingerprint", options);
  state.data_fingerprint = json_string(json, "data_fingerprint", options);
  return state;
}

void save_checkpoint(const fs::path& run, const TrainingState& state,
                     const std::function<void(const fs::path& directory)>& write) {
  const std::string name = std::string(kPrefix) + std::to_string(state.step);
  fs::remove_all(run / ("." + name + ".tmp"));
  TemporaryDirectory temporary(run / ("." + name + ".tmp"));
  write(temporary.path());
  write_atomically(temporary.path() / kState, to_json(state));
  write_manifest(temporary.path(), state);
  sync_directory(temporary.path());
  temporary.keep_as(run / name);
  sync_directory(run);
}

void verify_checkpoint(const fs::path& checkpoint) {
  const fs::path path = checkpoint / kManifest;
  const JsonOptions options = json_options(path);
  const std::string text = read_text(path, ExitCode::checkpoint);
  const Json manifest = parse_json(text, options);
  const int64_t format = json_int(manifest, "format", 1, kMaxInt, options);
  if (format > kFormat) {
    fail(ExitCode::checkpoint, {path.string(), "format", fmt::format("at most {}", kFormat),
                                std::to_string(format), "use the version of gorgon that wrote it"});
  }
  if (manifest_text(manifest) != text) damaged(path, "an undamaged manifest", "another SHA-256");
  const auto found = manifest.find("files");
  if (found == manifest.end() || !found->is_object()) damaged(path, "an object 'files'", "none");
  const Json& files = *found;
  std::vector<std::string> names = file_names(checkpoint);
  std::erase(names, kManifest);
  if (names != names_of(files)) {
    damaged(checkpoint, "the files " + quote_value(fmt::format("{}", fmt::join(names_of(files), ", "))),
            quote_value(fmt::format("{}", fmt::join(names, ", "))));
  }
  for (const auto& item : files.items()) check_file(checkpoint / item.key(), item.value(), options);
}

std::vector<CheckpointName> list_checkpoints(const fs::path& run) {
  std::vector<CheckpointName> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    const std::string_view digits = std::string_view(name).substr(kPrefix.size());
    int64_t step = 0;
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), step);
    if (result.ec != std::errc() || result.ptr != digits.data() + digits.size()) continue;
    found.push_back({entry.path(), step});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.step > b.step; });
  return found;
}

fs::path newest_checkpoint(const fs::path& run, const std::function<void(const std::string&)>& warn) {
  const std::vector<CheckpointName> all = list_checkpoints(run);
  std::vector<std::string> names;
  for (const CheckpointName& checkpoint : all) {
    try {
      verify_checkpoint(checkpoint.path);
      check_step(checkpoint);
      return checkpoint.path;
    } catch (const Error& error) {
      warn("checkpoint-" + std::to_string(checkpoint.step) + " is damaged and passed over: " + error.what());
      names.push_back(checkpoint.path.filename().string());
    }
  }
  if (all.empty()) return {};
  fail(ExitCode::checkpoint,
       {run.string(), "", "a checkpoint that is whole",
        "only damaged ones: " + fmt::format("{}", fmt::join(names, ", ")), "train --force starts from zero"});
}

TrainingState load_training_state(const fs::path& checkpoint) {
  const fs::path path = checkpoint / kState;
  return parse_training_state(read_text(path, ExitCode::checkpoint), path.string());
}

void prune_checkpoints(const fs::path& run, int64_t limit, int64_t best_step) {
  if (limit <= 0) return;
  const std::vector<CheckpointName> all = list_checkpoints(run);
  const auto keep = static_cast<size_t>(std::max<int64_t>(limit, 2));
  const bool best_is_old = std::any_of(all.begin() + static_cast<ptrdiff_t>(std::min(keep, all.size())),
                                       all.end(), [&](const auto& c) { return c.step == best_step; });
  // The best one counts within the limit, unless that would leave fewer than the two newest.
  const size_t newest = best_is_old ? std::max<size_t>(keep - 1, 2) : keep;
  for (size_t i = all.size(); i-- > newest;) {
    if (all[i].step != best_step) remove_checkpoint(all[i].path);
  }
}

std::vector<std::string> remove_leftovers(const fs::path& run) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run, error)) {
    if (entry.path().filename().string().starts_with(kTemporaryPrefix)) found.push_back(entry.path());
  }
  std::vector<std::string> names;
  for (const fs::path& path : found) {
    fs::remove_all(path);
    names.push_back(path.filename().string());
  }
  return names;
}

}  // namespace gorgon
