#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/chat_template.h"
#include "data/prepare.h"
#include "data/tokenizer.h"
#include "kernels/device.h"
#include "trainer/console.h"
#include "trainer/run_config.h"

namespace gorgon {

// What turns text into tokens for one model.
struct TextModel {
  explicit TextModel(const std::filesystem::path& model_path);  // Error(model)

  const ChatTemplate* chat_template() const { return template_.get(); }

  Tokenizer tokenizer;
  int64_t vocabulary;  // rows of the model's embedding

 private:
  std::unique_ptr<ChatTemplate> template_;  // empty where the model has none
};

PrepareOptions prepare_options(const RunConfig& config, const std::vector<std::string>& files,
                               std::optional<Split> split = std::nullopt);

// Whether every data file of a config is there and its first rows can be read: what a mistake in a path or a
// format needs to be told at once, before anything long begins. Throws Error(data).
void check_first_rows(const RunConfig& config, const TextModel& text);

// Sequences of `files`, with a progress bar and a stop point after every batch of rows.
PreparedDataset prepare_rows(const PrepareOptions& options, const TextModel& text, const Stream& stream,
                             Console& console);
// Prepared sequences at `path`, read when they are up to date and made otherwise. Nothing appears under that
// name when a stop point throws.
PreparedDataset load_dataset(const PrepareOptions& options, const std::filesystem::path& path,
                             const TextModel& text, const Stream& stream, Console& console);
// A log line about what load_dataset gave, and for rows that were left out.
void report_dataset(const std::vector<std::string>& files, const PreparedDataset& prepared, Console& console);
// The rows that a run is trained on: where it has no evaluation files, calibration and test prompts stay out.
std::optional<Split> training_split(const RunConfig& config);
// Whether `files` hold the very data that the run was trained on; a run whose files have gone cannot say.
bool is_training_data(const RunConfig& config, const std::vector<std::string>& files);

// SHA-256 of the data in `files`; empty where not all of them are there.
std::string data_fingerprint(const std::vector<std::string>& files);

// Where the prepared files of a run lie by default.
std::filesystem::path train_dataset_file(const std::filesystem::path& prepared);
std::filesystem::path eval_dataset_file(const std::filesystem::path& prepared, const std::string& name);
std::filesystem::path own_answers_file(const std::filesystem::path& prepared, const std::string& name);

// Error(data) when a token or label is not below vocab_size.
void check_token_range(const Dataset& dataset, int64_t vocab_size, const std::string& file);

// SHA-256 of tokens, labels and offsets: what a run learns from, whatever files it came from.
std::string content_fingerprint(const Dataset& dataset);

}  // namespace gorgon
