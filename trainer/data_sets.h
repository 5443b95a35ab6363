#pragma once

#include <filesystem>
#include <memory>
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

 private:
  std::unique_ptr<ChatTemplate> template_;  // empty where the model has none
};

PrepareOptions prepare_options(const RunConfig& config, const std::vector<std::string>& files);

// Prepared sequences at `path`, read when they are up to date and made otherwise; says which.
Dataset load_dataset(const RunConfig& config, const std::vector<std::string>& files,
                     const std::filesystem::path& path, const TextModel& text, ThreadPool& pool,
                     Console& console);

// Where the prepared files of a run lie by default.
std::filesystem::path train_dataset_file(const std::filesystem::path& prepared);
std::filesystem::path eval_dataset_file(const std::filesystem::path& prepared, const std::string& name);

// Error(data) when a token or label is not below vocab_size.
void check_token_range(const Dataset& dataset, int64_t vocab_size, const std::string& file);

// SHA-256 of tokens, labels and offsets: what a run learns from, whatever files it came from.
std::string content_fingerprint(const Dataset& dataset);

}  // namespace gorgon
