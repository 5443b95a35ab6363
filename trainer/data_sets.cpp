#include "trainer/data_sets.h"

#include <span>

#include <fmt/format.h>

#include "data/file.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<ChatTemplate> make_template(const Tokenizer& tokenizer, const fs::path& model_path) {
  if (tokenizer.chat_template().empty()) return nullptr;
  const auto text_of = [&](int32_t id) { return id < 0 ? std::string() : tokenizer.token_text(id); };
  return std::make_unique<ChatTemplate>(tokenizer.chat_template(), text_of(tokenizer.bos_id()),
                                        text_of(tokenizer.eos_id()), model_path.string());
}

std::string first_file(const std::vector<std::string>& files) {
  return files.size() == 1 ? files[0] : fmt::format("{} and {} more", files[0], files.size() - 1);
}

}  // namespace

TextModel::TextModel(const fs::path& model_path)
    : tokenizer(Tokenizer::load(model_path)), template_(make_template(tokenizer, model_path)) {}

PrepareOptions prepare_options(const RunConfig& config, const std::vector<std::string>& files) {
  PrepareOptions options;
  options.files = files;
  options.max_seq_length = config.max_seq_length;
  options.packing = config.packing ? Packing::wrapped : Packing::none;
  if (config.assistant_only_loss != "auto")
    options.assistant_only_loss = config.assistant_only_loss == "true";
  return options;
}

Dataset load_dataset(const RunConfig& config, const std::vector<std::string>& files, const fs::path& path,
                     const TextModel& text, ThreadPool& pool, Console& console) {
  PreparedDataset prepared;
  {
    constexpr int64_t kKilobyte = 1000;
    std::unique_ptr<Progress> progress;  // only once there is work: an up-to-date file needs none
    prepared = load_or_prepare(path, prepare_options(config, files), text.tokenizer, text.chat_template(),
                               pool, [&](int64_t done, int64_t total) {
                                 if (!progress)
                                   progress =
                                       std::make_unique<Progress>(console, "prepare kB", total / kKilobyte);
                                 progress->update(done / kKilobyte, "");
                               });
  }
  console.info(
      fmt::format("{}: {} sequences, {} of {} tokens supervised ({})", first_file(files),
                  prepared.report.sequences, prepared.report.supervised_tokens, prepared.report.tokens,
                  prepared.made_because.empty() ? "up to date" : "prepared: " + prepared.made_because));
  for (const auto& [reason, skipped] : prepared.report.skipped) {
    console.warn(fmt::format("{} rows left out: {} (first: {})", skipped.rows, reason, skipped.first));
  }
  return std::move(prepared.dataset);
}

fs::path train_dataset_file(const fs::path& prepared) {
  return prepared / "dataset.h5";
}

fs::path eval_dataset_file(const fs::path& prepared, const std::string& name) {
  // Names come from the user: what a file name cannot carry is written as its byte.
  std::string safe;
  for (const char c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
    safe += plain ? std::string(1, c) : fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  return prepared / ("eval-" + safe + ".h5");
}

void check_token_range(const Dataset& dataset, int64_t vocab_size, const std::string& file) {
  const auto check = [&](const std::vector<int32_t>& ids, const char* what, int32_t lowest) {
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= lowest && ids[i] < vocab_size) continue;
      fail(ExitCode::data, {file, what, fmt::format("ids below the model's vocabulary of {}", vocab_size),
                            fmt::format("{} at token {}", ids[i], i), "was it made for another model?"});
    }
  };
  check(dataset.tokens, "tokens", 0);
  check(dataset.labels, "labels", -100);
}

std::string content_fingerprint(const Dataset& dataset) {
  Sha256 sum;
  sum.update(std::as_bytes(std::span(dataset.tokens)));
  sum.update(std::as_bytes(std::span(dataset.labels)));
  sum.update(std::as_bytes(std::span(dataset.offsets)));
  return sum.hex();
}

}  // namespace gorgon
