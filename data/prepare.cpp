#include "data/prepare.h"

#include <algorithm>
#include <array>
#include <exception>
#include <unordered_set>
#include <utility>

#include "data/file.h"
#include "data/json.h"
#include "data/prompt_text.h"
#include "kernels/error.h"
#include "kernels/thread_pool.h"

namespace gorgon {

namespace fs = std::filesystem;

namespace {

constexpr size_t kBatchLines = 1024;             // rows tokenised together, at most
constexpr size_t kBatchBytes = size_t{4} << 20;  // and text held, but for a single longer line
constexpr size_t kMaxReason = 400;               // bytes kept of what a template says
constexpr const char* kReportKey = "report";

constexpr const char* kDuplicate = "prompt of an earlier row";

// Why a row is left to another purpose.
const char* describe(Split split) {
  switch (split) {
    case Split::calibration:
      return "prompt kept for calibration";
    case Split::test:
      return "prompt kept for tests";
    case Split::training:
      break;
  }
  return "prompt kept for training";
}

struct Result {
  Document document;
  std::optional<std::string> prompt;
  Split split = Split::training;
  std::exception_ptr error;
};

Result read_row(const DataLine& line, const PrepareOptions& options, const Tokenizer& tokenizer,
                const ChatTemplate* chat_template) {
  Result result;
  try {
    const Row row = parse_row(line, options.vocabulary > 0 ? options.vocabulary : tokenizer.vocab_size(),
                              options.columns);
    result.document = make_document(row, tokenizer, chat_template, options.assistant_only_loss);
    if (options.vocabulary > 0) tokenizer.require_rows(result.document.tokens, options.vocabulary);
    result.prompt = prompt_text(row, tokenizer, chat_template);
    if (result.prompt && options.split) result.split = split_of(*result.prompt);
  } catch (...) {
    result.error = std::current_exception();  // the first line's is reported, not the first in time
  }
  return result;
}

// Lines of the next batch; fewer than all only at the end of the data.
std::vector<DataLine> read_batch(LineSource& source) {
  std::vector<DataLine> lines;
  size_t bytes = 0;
  DataLine line;
  while (lines.size() < kBatchLines && bytes < kBatchBytes && source.next(line)) {
    bytes += line.text.size();
    lines.push_back(std::move(line));
    line = {};
  }
  return lines;
}

int64_t count_supervised(const std::vector<int32_t>& labels) {
  return static_cast<int64_t>(labels.size()) - std::count(labels.begin(), labels.end(), -100);
}

// Adds documents in the order of their rows and counts what becomes of them.
class Collector {
 public:
  Collector(const PrepareOptions& options, PreparedDataset& out)
      : out_(out),
        split_(options.split),
        context_length_(options.context_length > 0 ? options.context_length : INT64_MAX),
        packer_(options.packing, options.max_seq_length, out.dataset) {}

  void add(const DataLine& line, const Result& result) {
    const Document& document = result.document;
    PrepareReport& report = out_.report;
    ++report.rows;
    const std::string reason = why_not(result);
    if (!reason.empty()) {
      auto& skipped = report.skipped[reason];
      if (skipped.rows++ == 0) {
        skipped.first = at_line(line.file, line.number);
        if (!document.why.empty()) skipped.first += ": " + document.why.substr(0, kMaxReason);
      }
      return;
    }
    ++report.documents;
    const auto answer = std::find_if(document.labels.begin(), document.labels.end(),
                                     [](int32_t label) { return label != -100; });
    if (answer - document.labels.begin() >= context_length_) ++beyond_context_;
    if (result.prompt) prompts_.push_back(prompt_hash(*result.prompt));
    report.tokens += static_cast<int64_t>(document.tokens.size());
    report.supervised_tokens += count_supervised(document.labels);
    packer_.add(document.tokens, document.labels);
  }

  void finish() {
    packer_.finish();
    out_.prompts = PromptHashes(std::move(prompts_));
    PrepareReport& report = out_.report;
    report.clipped_tokens = packer_.clipped_tokens();
    report.clipped_documents = packer_.clipped_documents();
    const Dataset& dataset = out_.dataset;
    report.sequences = dataset.sequences();
    for (size_t s = 0; s + 1 < dataset.offsets.size(); ++s) {
      const auto begin = dataset.labels.begin() + dataset.offsets[s];
      const auto end = dataset.labels.begin() + dataset.offsets[s + 1];
      report.empty_sequences += std::all_of(begin, end, [](int32_t label) { return label == -100; });
    }
  }

  int64_t beyond_context() const { return beyond_context_; }  // documents whose answers begin behind it

 private:
  // Why the row is left out; "" where it is not.
  std::string why_not(const Result& result) {
    if (result.document.skipped) return std::string(describe(*result.document.skipped));
    if (!split_ || !result.prompt) return "";
    if (!seen_.insert(sha256_of(*result.prompt)).second) return kDuplicate;
    return result.split == *split_ ? "" : describe(result.split);
  }

  PreparedDataset& out_;
  std::optional<Split> split_;
  std::unordered_set<std::string> seen_;  // SHA-256 of the prompts
  std::vector<uint64_t> prompts_;
  int64_t context_length_, beyond_context_ = 0;
  Packer packer_;
};

std::string names_of(const std::vector<std::string>& files) {
  std::string names;
  for (const std::string& file : files) names += (names.empty() ? "" : ", ") + file;
  return names;
}

// No max_seq_length makes such rows usable.
void check_context(const PrepareOptions& options, const PrepareReport& report, int64_t beyond_context) {
  if (report.sequences > report.empty_sequences || beyond_context == 0 || beyond_context < report.documents)
    return;
  fail(ExitCode::data,
       {names_of(options.files), "",
        "prompts shorter than the model's context of " + std::to_string(options.context_length) + " tokens",
        beyond_context == 1 ? "1 row, which is longer" : std::to_string(beyond_context) + " rows, all longer",
        "shorten or remove them"});
}

void check_usable(const PrepareOptions& options, const PrepareReport& report) {
  if (report.sequences > report.empty_sequences || options.may_be_unsupervised) return;
  std::string found = std::to_string(report.rows) + (report.rows == 1 ? " row" : " rows");
  std::string separator = ": ";
  for (const auto& [reason, skipped] : report.skipped) {
    found += separator + std::to_string(skipped.rows) + " with " + reason;
    separator = ", ";
  }
  if (report.documents > 0) {
    found += separator + std::to_string(report.documents) + " whose supervised tokens are all clipped";
  }
  const bool answers = report.skipped.contains(std::string(describe(SkipReason::no_assistant)));
  fail(ExitCode::data, {.place = names_of(options.files),
                        .key = "",
                        .expected = "a usable row",
                        .found = found,
                        .remedy = answers                ? "assistant_only_loss: false trains on all tokens"
                                  : report.documents > 0 ? "raise max_seq_length"
                                                         : "check the contents of the rows"});
}

std::map<std::string, std::string> identity(const PrepareOptions& options, const Tokenizer& tokenizer,
                                            std::string sum_of_data) {
  const auto& only = options.assistant_only_loss;
  std::string columns;
  for (const auto& [field, in_data] : options.columns) columns += field + "=" + in_data + "\n";
  return {{"format", "1"},
          {"columns", columns},
          {"data_sha256", std::move(sum_of_data)},
          {"tokenizer_sha256", tokenizer.sha256()},
          {"template_sha256", sha256_of(tokenizer.chat_template())},
          {"max_seq_length", std::to_string(options.max_seq_length)},
          {"packing", std::string(name(options.packing))},
          {"assistant_only_loss", only ? (*only ? "true" : "false") : "auto"},
          {"split", options.split ? describe(*options.split) : "all"}};
}

// The numbers of a report by name: the one list behind saving and reading it.
std::array<std::pair<const char*, int64_t PrepareReport::*>, 8> fields() {
  return {{{"rows", &PrepareReport::rows},
           {"documents", &PrepareReport::documents},
           {"tokens", &PrepareReport::tokens},
           {"supervised_tokens", &PrepareReport::supervised_tokens},
           {"clipped_tokens", &PrepareReport::clipped_tokens},
           {"clipped_documents", &PrepareReport::clipped_documents},
           {"sequences", &PrepareReport::sequences},
           {"empty_sequences", &PrepareReport::empty_sequences}}};
}

std::string save(const PrepareReport& report) {
  Json json = Json::object();
  for (const auto& [field, member] : fields()) json[field] = report.*member;
  json["skipped"] = Json::object();
  for (const auto& [reason, skipped] : report.skipped) {
    json["skipped"][reason] = {{"rows", skipped.rows}, {"first", skipped.first}};
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);  // file names may be no UTF-8
}

PrepareReport load(const std::string& text, const std::string& file) {
  const JsonOptions at{.file = file};
  const Json json = parse_json(text, at);
  constexpr int64_t kMost = int64_t{1} << 53;
  PrepareReport report;
  for (const auto& [field, member] : fields()) report.*member = json_int(json, field, 0, kMost, at);
  if (!json.contains("skipped") || !json.at("skipped").is_object()) return report;
  for (const auto& [reason, skipped] : json.at("skipped").items()) {
    report.skipped[reason] = {json_int(skipped, "rows", 0, kMost, at), json_string(skipped, "first", at)};
  }
  return report;
}

// Why the file at `path` does not do; "" after it was read into `out`.
std::string read_if_same(const fs::path& path, const std::map<std::string, std::string>& wanted,
                         PreparedDataset& out) {
  if (!fs::exists(path)) return "there is none yet";
  try {
    out.dataset = read_dataset(path);
    std::string difference = dataset_difference(out.dataset.attributes, wanted);
    if (!difference.empty()) return difference;
    out.report = load(out.dataset.attributes[kReportKey], path.string());
    if (!fs::exists(prompts_file(path))) return "the hashes of its prompts are missing";
    out.prompts = PromptHashes::read(prompts_file(path));
  } catch (const Error& error) {
    if (error.code() != ExitCode::data || !is_dataset_file(path)) throw;
    return error.what();
  }
  return "";
}

}  // namespace

std::map<std::string, std::string> dataset_identity(const PrepareOptions& options,
                                                    const Tokenizer& tokenizer) {
  return identity(options, tokenizer, data_sha256(expand_data_files(options.files)));
}

PreparedDataset prepare(const PrepareOptions& options, const Tokenizer& tokenizer,
                        const ChatTemplate* chat_template, ThreadPool& pool,
                        const PrepareProgress& progress) {
  PreparedDataset out;
  Collector collector(options, out);
  LineSource source(expand_data_files(options.files));
  for (;;) {
    const std::vector<DataLine> lines = read_batch(source);
    if (lines.empty()) break;
    std::vector<Result> results(lines.size());
    pool.parallel_for(static_cast<int64_t>(lines.size()), [&](int64_t i) {
      const auto at = static_cast<size_t>(i);
      results[at] = read_row(lines[at], options, tokenizer, chat_template);
    });
    for (size_t i = 0; i < lines.size(); ++i) {
      if (results[i].error) std::rethrow_exception(results[i].error);
      collector.add(lines[i], results[i]);
    }
    if (progress) progress(source.bytes_done(), source.bytes_total());
  }
  collector.finish();
  check_context(options, out.report, collector.beyond_context());
  check_usable(options, out.report);
  out.dataset.attributes = identity(options, tokenizer, source.sha256());
  out.dataset.attributes[kReportKey] = save(out.report);
  return out;
}

fs::path prompts_file(const fs::path& path) {
  fs::path file = path;
  file += ".prompts";
  return file;
}

PreparedDataset load_or_prepare(const fs::path& path, const PrepareOptions& options,
                                const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                                ThreadPool& pool, const PrepareProgress& progress) {
  PreparedDataset out;
  std::string because = read_if_same(path, dataset_identity(options, tokenizer), out);
  if (because.empty()) return out;
  out = prepare(options, tokenizer, chat_template, pool, progress);
  fs::remove(path);  // so that the hashes never lie beside another data set
  out.prompts.write(prompts_file(path));
  write_dataset(path, out.dataset);
  out.made_because = std::move(because);
  return out;
}

bool is_put_aside(const std::string& reason) {
  return reason == kDuplicate || reason == describe(Split::calibration) || reason == describe(Split::test) ||
         reason == describe(Split::training);
}

std::string to_text(const PrepareReport& report) {
  const auto percent = [](int64_t part, int64_t whole) {
    const int64_t tenths = whole > 0 ? (part * 1000 + whole / 2) / whole : 0;
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " %";
  };
  std::string text =
      "rows       " + std::to_string(report.rows) + ", " + std::to_string(report.documents) + " used\n";
  for (const auto& [reason, skipped] : report.skipped) {
    text +=
        "skipped    " + std::to_string(skipped.rows) + ", " + reason + " (first: " + skipped.first + ")\n";
  }
  text += "tokens     " + std::to_string(report.tokens) + ", " + std::to_string(report.supervised_tokens) +
          " supervised (" + percent(report.supervised_tokens, report.tokens) + ")\n";
  text += "clipped    " + std::to_string(report.clipped_tokens) + " tokens of " +
          std::to_string(report.clipped_documents) + " documents\n";
  text += "sequences  " + std::to_string(report.sequences) + ", " + std::to_string(report.empty_sequences) +
          " without a supervised token\n";
  return text;
}

}  // namespace gorgon
