#include "trainer/distill.h"

#include <map>
#include <utility>

#include "data/file.h"
#include "data/json.h"
#include "kernels/error.h"
#include "trainer/append_file.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSyncEvery = 32;  // rows that a power loss may cost

fs::path beside(const fs::path& output, const char* suffix) {
  return output.string() + suffix;
}

// Whether `output` belongs to this identity; false when nothing is known about it.
bool same_identity(const fs::path& output, const std::string& identity) {
  const fs::path path = beside(output, ".distill.json");
  return fs::exists(path) && read_text(path, ExitCode::config) == identity;
}

// The whole rows at the start of a partial file: those that end in a newline and carry their own number.
struct Kept {
  int64_t rows = 0, bytes = 0;
};
Kept whole_rows(const fs::path& partial) {
  Kept kept;
  if (!fs::exists(partial)) return kept;
  const std::string text = read_text(partial, ExitCode::data);
  size_t begin = 0;
  for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    const Json row = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(begin),
                                 text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (!row.is_object() || row.value("id", int64_t{-1}) != kept.rows) break;
    begin = end + 1;
    ++kept.rows;
  }
  kept.bytes = static_cast<int64_t>(begin);
  return kept;
}

// Rows arrive in any order and are written in theirs.
class OrderedRows {
 public:
  OrderedRows(const fs::path& path, const Kept& kept) : file_(path, kept.bytes), next_(kept.rows) {}

  void put(int64_t id, std::string row) {
    waiting_.emplace(id, std::move(row));
    for (auto first = waiting_.find(next_); first != waiting_.end(); first = waiting_.find(next_)) {
      file_.append(first->second);
      waiting_.erase(first);
      if (++next_ % kSyncEvery == 0) file_.sync();
    }
  }
  void sync() { file_.sync(); }

 private:
  AppendFile file_;
  int64_t next_;
  std::map<int64_t, std::string> waiting_;
};

}  // namespace

std::string distilled_row(int64_t id, const Prompt& prompt, const Answer& answer,
                          const Tokenizer& tokenizer) {
  nlohmann::ordered_json row;
  row["id"] = id;
  if (!prompt.messages.empty()) {
    row["messages"] = nlohmann::ordered_json::array();
    for (const Message& message : prompt.messages) {
      row["messages"].push_back({{"role", message.role}, {"content", message.content}});
    }
    row["messages"].push_back({{"role", "assistant"}, {"content", answer_text(tokenizer, answer.tokens)}});
  }
  std::vector<int32_t> ids = prompt.tokens, labels(prompt.tokens.size(), -100);
  ids.insert(ids.end(), answer.tokens.begin(), answer.tokens.end());
  labels.insert(labels.end(), answer.tokens.begin(), answer.tokens.end());
  row["input_ids"] = ids;
  row["labels"] = labels;
  row["finish"] = answer.stopped ? "stop" : "length";
  // A cap may cut an answer inside a character; the ids are exact all the same.
  return row.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

DistillOutcome distill(const Backbone& backbone, const std::vector<Prompt>& prompts,
                       const Tokenizer& tokenizer, const DistillOptions& options, const fs::path& output,
                       const Stream& stream, const std::function<void(int64_t)>& progress) {
  const fs::path partial = beside(output, ".partial"), identity_file = beside(output, ".distill.json");
  const bool same = same_identity(output, options.identity);
  if (fs::exists(output)) {
    if (same) return DistillOutcome::was_complete;
    fail(ExitCode::config, {output.string(), "--output", "a new file", "a file made from something else",
                            "remove it or give another name"});
  }
  if (!same) {
    fs::remove(partial);
    write_atomically(identity_file, options.identity);
  }
  const Kept kept = whole_rows(partial);
  OrderedRows rows(partial, kept);
  auto next = static_cast<uint64_t>(kept.rows);
  Decoder decoder(backbone, nullptr, options.decoder, stream);
  int64_t done = kept.rows;
  const auto next_prompt = [&](DecodeRequest& request) {
    if (next >= prompts.size()) return false;
    request = {next, prompts[next].tokens};
    ++next;
    return true;
  };
  const auto write_row = [&](const DecodeRequest& request, Answer& answer) {
    const auto id = static_cast<int64_t>(request.id);
    rows.put(id, distilled_row(id, prompts[request.id], answer, tokenizer));
    if (progress) progress(++done);
  };
  try {
    decoder.run(next_prompt, options.batch, write_row);
  } catch (const Stopped&) {
    rows.sync();
    throw;
  }
  rows.sync();
  fs::rename(partial, output);
  sync_directory(fs::absolute(output).parent_path());
  return DistillOutcome::complete;
}

}  // namespace gorgon
