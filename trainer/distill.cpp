#include "trainer/distill.h"

#include <map>
#include <optional>
#include <utility>

#include "data/file.h"
#include "data/json.h"
#include "kernels/error.h"
#include "trainer/append_file.h"
#include "trainer/rank_agreement.h"
#include "trainer/rank_message.h"

namespace gorgon {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kSyncEvery = 32;  // rows that a power loss may cost

fs::path beside(const fs::path& output, const char* suffix) {
  return output.string() + suffix;
}

constexpr size_t kLongestIdentity = 1 << 20;  // bytes

// What OUTPUT.distill.json says; null where there is none, or none that can be read.
Json saved_identity(const fs::path& output) {
  const fs::path path = beside(output, ".distill.json");
  if (!fs::exists(path)) return nullptr;
  JsonOptions options;
  options.file = path.string();
  try {
    return parse_json(read_text(path, ExitCode::data, kLongestIdentity), options);
  } catch (const Error&) {
    return nullptr;
  }
}

// "seed: 9 -> 4; dtype: ..." in the order of the names; empty where the two are the same.
std::string difference(const Json& saved, const Json& now) {
  if (!saved.is_object()) return "one of unknown origin (no readable .distill.json beside it)";
  Json all = now;
  all.update(saved);
  std::string out;
  for (const auto& [key, ignored] : all.items()) {
    const auto text = [&key = key](const Json& of) {
      return of.contains(key) ? quote_value(of[key].dump()) : std::string("none");
    };
    if (saved.contains(key) && now.contains(key) && saved[key] == now[key]) continue;
    out += (out.empty() ? "" : "; ") + key + ": " + text(saved) + " -> " + text(now);
  }
  return out;
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

namespace {

[[noreturn]] void refuse_other(const fs::path& file, const std::string& what, const std::string& differs) {
  fail(ExitCode::config, {file.string(), "--output", "a new file or a " + what + " of the same settings",
                          differs, "remove it or give another name"});
}

// Rank 0's look at the files: the rows that are there already, or none where all are.
std::optional<Kept> find_kept(const fs::path& output, const std::string& identity) {
  const fs::path partial = beside(output, ".partial");
  const std::string differs = difference(saved_identity(output), Json::parse(identity));
  if (fs::exists(output)) {
    if (differs.empty()) return std::nullopt;
    refuse_other(output, "file", differs);
  }
  if (!differs.empty()) {
    if (fs::exists(partial) && fs::file_size(partial) > 0) refuse_other(partial, "unfinished file", differs);
    write_atomically(beside(output, ".distill.json"), identity);
  }
  return whole_rows(partial);
}

std::vector<std::vector<int32_t>> tokens_of(const std::vector<Prompt>& prompts) {
  std::vector<std::vector<int32_t>> tokens;
  for (const Prompt& prompt : prompts) tokens.push_back(prompt.tokens);
  return tokens;
}

// Answers `mine`, and puts each one's tokens and why it ended.
void answer(const Backbone& backbone, const std::vector<std::vector<int32_t>>& prompts,
            const DistillOptions& options, const Stream& stream, const std::vector<int64_t>& mine,
            const RankShare::Put& put) {
  Decoder decoder(backbone, nullptr, options.decoder, stream);
  size_t next = 0;
  decoder.run(
      [&](DecodeRequest& request) {
        if (next == mine.size()) return false;
        const auto id = static_cast<uint64_t>(mine[next++]);
        request = {id, prompts[id]};
        return true;
      },
      options.batch,
      [&](const DecodeRequest& request, Answer& answer) {
        MessageWriter writer;
        writer.add(answer.stopped);
        writer.add(answer.tokens);
        put(static_cast<int64_t>(request.id), writer.take());
      });
}

}  // namespace

DistillOutcome distill(const Backbone& backbone, const std::vector<Prompt>& prompts,
                       const Tokenizer& tokenizer, const DistillOptions& options, const fs::path& output,
                       const Stream& stream, RankShare& share, Progress* progress) {
  RankGroup& ranks = share.ranks();
  std::optional<Kept> kept;
  if (ranks.is_first()) kept = find_kept(output, options.identity);
  std::vector<int64_t> first{kept ? kept->rows : -1};
  all_reduce(ranks.host(), first, ReduceOp::max, "the rows that are there");
  if (first[0] < 0) return DistillOutcome::was_complete;
  std::vector<std::vector<int32_t>> tokens = tokens_of(prompts);
  broadcast_tokens(ranks, tokens);

  std::optional<OrderedRows> rows;
  if (kept) rows.emplace(beside(output, ".partial"), *kept);
  int64_t done = first[0];
  if (progress != nullptr) progress->begin_at(done, options.batch * ranks.size());
  const auto write_row = [&](int64_t id, const std::string& packed) {
    if (!rows) return;
    Answer answer;
    MessageReader reader(packed);
    reader.get(answer.stopped);
    reader.get(answer.tokens);
    rows->put(id, distilled_row(id, prompts[static_cast<size_t>(id)], answer, tokenizer));
    if (progress != nullptr) progress->update(++done, "");
  };
  const auto work = [&](const std::vector<int64_t>& mine, const RankShare::Put& put) {
    answer(backbone, tokens, options, stream, mine, put);
  };
  try {
    share.run(first[0], std::ssize(tokens), "answers", work, write_row);
  } catch (const Stopped&) {
    if (rows) rows->sync();
    throw;
  }
  if (rows) {
    rows->sync();
    fs::rename(beside(output, ".partial"), output);
    sync_directory(fs::absolute(output).parent_path());
  }
  return DistillOutcome::complete;
}

}  // namespace gorgon
