#include "trainer/data_sets.h"

#include <optional>
#include <span>

#include <fmt/format.h>

#include "data/conversations.h"
#include "data/data_files.h"
#include "data/file.h"
#include "data/supervision.h"
#include "kernels/error.h"
#include "model/model_weights.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<ChatTemplate> make_template(const Tokenizer& tokenizer, const fs::path& model_path) {
  if (tokenizer.chat_template().empty()) return nullptr;
  const auto text_of = [&](int32_t id) { return id < 0 ? std::string() : tokenizer.token_text(id); };
  return std::make_unique<ChatTemplate>(tokenizer.chat_template(), text_of(tokenizer.bos_id()),
                                        text_of(tokenizer.eos_id()), model_path.string());
}

Packing packing_of(const RunConfig& config) {
  if (!config.packing) return Packing::none;
  switch (config.packing_strategy) {
    case PackingStrategy::wrapped:
      return Packing::wrapped;
  }
  return Packing::wrapped;
}

std::string first_file(const std::vector<std::string>& files) {
  return files.size() == 1 ? files[0] : fmt::format("{} and {} more", files[0], files.size() - 1);
}

}  // namespace

TextModel::TextModel(const fs::path& model_path)
    : tokenizer(Tokenizer::load(model_path)),
      vocabulary(load_model_config(model_path).vocab_size),
      template_(make_template(tokenizer, model_path)) {}

PrepareOptions prepare_options(const RunConfig& config, const std::vector<std::string>& files,
                               std::optional<Split> split) {
  PrepareOptions options;
  options.files = files;
  options.max_seq_length = config.max_seq_length;
  const ModelConfig model = load_model_config(config.model_path);
  options.context_length = model.max_position_embeddings;
  options.vocabulary = model.vocab_size;
  options.packing = packing_of(config);
  options.assistant_only_loss = config.assistant_only_loss;
  options.columns = config.columns;
  options.split = split;
  return options;
}

std::optional<Split> training_split(const RunConfig& config) {
  if (!config.eval_dataset_path.empty()) return std::nullopt;
  return Split::training;
}

bool is_training_data(const RunConfig& config, const std::vector<std::string>& files) {
  if (config.train_dataset_path.empty()) return false;
  const std::string trained = data_fingerprint(config.train_dataset_path);
  return !trained.empty() && trained == data_fingerprint(files);
}

std::string data_fingerprint(const std::vector<std::string>& files) {
  try {
    return data_sha256(expand_data_files(files));
  } catch (const Error&) {
    return "";
  }
}

void check_first_rows(const RunConfig& config, const TextModel& text) {
  constexpr int kRows = 8;
  std::vector<std::string> patterns = config.train_dataset_path;
  for (const NamedPath& eval : config.eval_dataset_path) patterns.push_back(eval.path);
  const PrepareOptions options = prepare_options(config, patterns);
  for (const fs::path& file : expand_data_files(patterns)) {
    LineSource source({file});
    DataLine line;
    for (int row = 0; row < kRows && source.next(line); ++row) {
      const Row parsed = parse_row(line, options.vocabulary, options.columns);
      const Document document =
          make_document(parsed, text.tokenizer, text.chat_template(), options.assistant_only_loss);
      text.tokenizer.require_rows(document.tokens, options.vocabulary);
    }
  }
}

namespace {

// The bar of one preparation, drawn once there is work: an up-to-date file needs none.
class PrepareBar {
 public:
  PrepareBar(const Stream& stream, Console& console) : stream_(stream), console_(console) {}
  PrepareProgress callback() {
    return [this](int64_t done, int64_t total) {
      stream_.stop_point();
      if (!progress_) progress_.emplace(console_, "prepare kB", total / kKilobyte);
      progress_->update(done / kKilobyte, "");
    };
  }

 private:
  static constexpr int64_t kKilobyte = 1000;
  const Stream& stream_;
  Console& console_;
  std::optional<Progress> progress_;
};

}  // namespace

PreparedDataset prepare_rows(const PrepareOptions& options, const TextModel& text, const Stream& stream,
                             Console& console) {
  PrepareBar bar(stream, console);
  return prepare(options, text.tokenizer, text.chat_template(), stream.threads(), bar.callback());
}

PreparedDataset load_dataset(const PrepareOptions& options, const fs::path& path, const TextModel& text,
                             const Stream& stream, Console& console) {
  stream.stop_point();
  PrepareBar bar(stream, console);
  return load_or_prepare(path, options, text.tokenizer, text.chat_template(), stream.threads(),
                         bar.callback());
}

void report_dataset(const std::vector<std::string>& files, const PreparedDataset& prepared,
                    Console& console) {
  const PrepareReport& report = prepared.report;
  console.info(
      fmt::format("{}: {} sequences, {} of {} tokens supervised ({})", first_file(files), report.sequences,
                  report.supervised_tokens, report.tokens,
                  prepared.made_because.empty() ? "up to date" : "prepared: " + prepared.made_because));
  for (const auto& [reason, skipped] : report.skipped) {
    const std::string line =
        fmt::format("{} left out: {} (first: {})", count_of(skipped.rows, "row"), reason, skipped.first);
    if (is_put_aside(reason)) {
      console.info(line);
    } else {
      console.warn(line);
    }
  }
}

fs::path train_dataset_file(const fs::path& prepared) {
  return prepared / "dataset.h5";
}

namespace {

// Names come from the user: what a file name cannot carry is written as its byte.
std::string safe_name(const std::string& name) {
  std::string safe;
  for (const char c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
    safe += plain ? std::string(1, c) : fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  return safe;
}

}  // namespace

fs::path eval_dataset_file(const fs::path& prepared, const std::string& name) {
  return prepared / ("eval-" + safe_name(name) + ".h5");
}

fs::path own_answers_file(const fs::path& prepared, const std::string& name) {
  return prepared / ("own-answers-" + safe_name(name) + ".jsonl");
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
