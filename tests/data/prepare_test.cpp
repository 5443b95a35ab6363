#include "data/prepare.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/file.h"
#include "data/generator/text_to_sql.h"
#include "data/preview.h"
#include "kernels/thread_pool.h"
#include "tests/data/expect_error.h"
#include "tests/data/real_text_model.h"
#include "tests/data/temporary_directory.h"

namespace gorgon {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kMixed =
    R"({"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]})"
    "\n"
    R"({"messages": [{"role": "user", "content": "alone"}]})"
    "\n\n"
    R"({"text": "free text"})"
    "\n"
    R"({"text": ""})"
    "\n"
    R"({"input_ids": [9, 8, 7, 6, 5, 4, 3, 2], "labels": [-100, -100, 7, 6, 5, 4, 3, 2]})"
    "\n"
    R"({"messages": [{"role": "system", "content": "s"}]})";

std::string generated(int rows) {
  generator::SqlChatStream stream(1, generator::Split::train);
  std::string text;
  for (int i = 0; i < rows; ++i) text += to_json_line(stream.next());
  return text;
}

PrepareOptions options_for(const std::filesystem::path& file, int64_t max_seq_length = 64,
                           Packing packing = Packing::wrapped) {
  PrepareOptions options;
  options.files = {file.string()};
  options.max_seq_length = max_seq_length;
  options.packing = packing;
  return options;
}

PreparedDataset prepare_with(const PrepareOptions& options, int threads = 2,
                             const PrepareProgress& progress = {}) {
  const RealTextModel& model = real_text_model();
  ThreadPool pool(threads);
  return prepare(options, model.tokenizer, &model.chat_template, pool, progress);
}

PreparedDataset load_or_prepare_with(const std::filesystem::path& path, const PrepareOptions& options) {
  const RealTextModel& model = real_text_model();
  ThreadPool pool(2);
  return load_or_prepare(path, options, model.tokenizer, &model.chat_template, pool);
}

class Prepare : public WithRealTextModel {};

TEST_F(Prepare, CountsWhatBecomesOfEveryRow) {
  const TemporaryDirectory folder;
  const auto file = folder.write("mixed.jsonl", kMixed);
  const PreparedDataset prepared = prepare_with(options_for(file, 5, Packing::none));
  const PrepareReport& report = prepared.report;
  EXPECT_EQ(report.rows, 6);
  EXPECT_EQ(report.documents, 3);
  ASSERT_EQ(report.skipped.size(), 2u);
  EXPECT_EQ(report.skipped.at("no assistant turn").rows, 2);
  EXPECT_EQ(report.skipped.at("no assistant turn").first, file.string() + ":2");
  EXPECT_EQ(report.skipped.at("no token").rows, 1);
  EXPECT_EQ(report.skipped.at("no token").first, file.string() + ":5");
  EXPECT_EQ(report.sequences, 3);
  EXPECT_EQ(report.empty_sequences, 1);  // the chat's answer lies behind five tokens
  const auto text_tokens = static_cast<int64_t>(real_text_model().tokenizer.encode("free text").size());
  const int64_t chat_tokens = report.tokens - 8 - text_tokens;
  EXPECT_GT(chat_tokens, 5);
  EXPECT_EQ(report.supervised_tokens, 2 + text_tokens + 6);  // "4" and the end of the turn
  EXPECT_EQ(report.clipped_tokens, chat_tokens - 5 + 3);
  EXPECT_EQ(report.clipped_documents, 2);
  EXPECT_EQ(prepared.dataset.sequences(), 3);
  const std::string text = to_text(report);
  EXPECT_THAT(text, HasSubstr("rows       6, 3 used\n"));
  EXPECT_THAT(text, HasSubstr("skipped    2, no assistant turn (first: " + file.string() + ":2)\n"));
}

TEST_F(Prepare, WrappedIsAllDocumentsInARow) {
  const TemporaryDirectory folder;
  const auto file = folder.write("rows.jsonl", generated(50));
  const Dataset packed = prepare_with(options_for(file, 64)).dataset;
  const Dataset apart = prepare_with(options_for(file, 4096, Packing::none)).dataset;
  EXPECT_EQ(packed.tokens, apart.tokens);
  EXPECT_EQ(packed.labels, apart.labels);
  EXPECT_EQ(apart.sequences(), 50);
  EXPECT_EQ(packed.sequences(), static_cast<int64_t>((packed.tokens.size() + 63) / 64));
}

// 3,000 rows are more than one batch of lines.
TEST_F(Prepare, ThreadsMakeNoDifference) {
  const TemporaryDirectory folder;
  const auto file = folder.write("rows.jsonl", generated(3000));
  const Dataset one = prepare_with(options_for(file), 1).dataset;
  const Dataset three = prepare_with(options_for(file), 3).dataset;
  EXPECT_EQ(one.tokens, three.tokens);
  EXPECT_EQ(one.labels, three.labels);
  EXPECT_EQ(one.segments, three.segments);
  EXPECT_EQ(one.offsets, three.offsets);
  EXPECT_EQ(one.attributes, three.attributes);
}

TEST_F(Prepare, TheFirstBadLineIsNamedWhateverTheThreads) {
  const TemporaryDirectory folder;
  const auto file = folder.write("rows.jsonl", generated(40) + "{\"text\": 1}\n" + generated(3) + "broken\n");
  for (int i = 0; i < 5; ++i) {
    const std::string line = error_of(ExitCode::data, [&] { prepare_with(options_for(file), 3); });
    EXPECT_EQ(line, file.string() + ":41: text: expected a string, found the number 1");
  }
}

TEST_F(Prepare, ReportsProgressInBytes) {
  const TemporaryDirectory folder;
  const std::string text = generated(3000);
  const auto file = folder.write("rows.jsonl", text);
  std::vector<int64_t> done;
  prepare_with(options_for(file), 2, [&](int64_t bytes, int64_t total) {
    EXPECT_EQ(total, static_cast<int64_t>(text.size()));
    done.push_back(bytes);
  });
  EXPECT_GE(done.size(), 2u);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), static_cast<int64_t>(text.size()));
}

TEST_F(Prepare, NoUsableRowIsAnErrorWithCounts) {
  const TemporaryDirectory folder;
  const auto questions = folder.write("q.jsonl", R"({"messages": [{"role": "user", "content": "a"}]})"
                                                 "\n{\"text\": \"\"}\n");
  EXPECT_EQ(error_of(ExitCode::data, [&] { prepare_with(options_for(questions)); }),
            questions.string() +
                ": expected a usable row, found 2 rows: 1 with no assistant turn, 1 with no token; "
                "assistant_only_loss: false trains on all tokens");
  const auto empty = folder.write("empty.jsonl", "\n\n");
  EXPECT_THAT(error_of(ExitCode::data, [&] { prepare_with(options_for(empty)); }), HasSubstr("found 0 rows"));
  const auto clipped = folder.write(
      "c.jsonl",
      R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})");
  EXPECT_THAT(error_of(ExitCode::data, [&] { prepare_with(options_for(clipped, 4, Packing::none)); }),
              HasSubstr("found 1 row: 1 whose supervised tokens are all clipped; raise max_seq_length"));
}

// No max_seq_length helps a prompt that the model has no place for.
TEST_F(Prepare, PromptsBeyondTheContextAreToldAsSuch) {
  const TemporaryDirectory folder;
  const auto rows =
      folder.write("c.jsonl", R"({"input_ids": [5, 6, 7, 8, 9], "labels": [-100, -100, -100, -100, 9]})");
  PrepareOptions options = options_for(rows, 3, Packing::none);
  options.context_length = 4;
  EXPECT_EQ(error_of(ExitCode::data, [&] { prepare_with(options); }),
            rows.string() +
                ": expected prompts shorter than the model's context of 4 tokens, found 1 row, which "
                "is longer; shorten or remove them");
  options.context_length = 5;
  EXPECT_THAT(error_of(ExitCode::data, [&] { prepare_with(options); }), HasSubstr("raise max_seq_length"));
  options.max_seq_length = 5;
  EXPECT_EQ(prepare_with(options).report.sequences, 1);
}

class LoadOrPrepare : public WithRealTextModel {};

// What is read has the hashes that were made; without them nobody could say what was trained on.
TEST_F(LoadOrPrepare, KeepsTheHashesOfThePrompts) {
  const TemporaryDirectory folder;
  const auto path = folder.path() / "dataset.h5";
  const auto options = options_for(folder.write("rows.jsonl", generated(9)));
  const PreparedDataset made = load_or_prepare_with(path, options);
  EXPECT_GT(made.prompts.size(), 0);
  const PreparedDataset read = load_or_prepare_with(path, options);
  EXPECT_EQ(read.made_because, "");
  EXPECT_TRUE(read.prompts == made.prompts);
  std::filesystem::remove(prompts_file(path));
  EXPECT_EQ(load_or_prepare_with(path, options).made_because, "the hashes of its prompts are missing");
  EXPECT_TRUE(PromptHashes::read(prompts_file(path)) == made.prompts);
}

TEST_F(LoadOrPrepare, ReadsWhatIsUpToDateAndMakesTheRest) {
  const TemporaryDirectory folder;
  const auto file = folder.write("rows.jsonl", generated(20) + "{\"text\": \"\"}\n");
  const auto path = folder.path() / "dataset.h5";
  PrepareOptions options = options_for(file);

  const PreparedDataset made = load_or_prepare_with(path, options);
  EXPECT_EQ(made.made_because, "there is none yet");
  const std::string bytes = read_text(path, ExitCode::data);

  const PreparedDataset read = load_or_prepare_with(path, options);
  EXPECT_EQ(read.made_because, "");
  EXPECT_EQ(read.dataset.tokens, made.dataset.tokens);
  EXPECT_EQ(read.dataset.attributes, made.dataset.attributes);
  EXPECT_EQ(to_text(read.report), to_text(made.report));
  EXPECT_EQ(read.report.skipped.at("no token").rows, 1);

  options.max_seq_length = 256;
  EXPECT_EQ(load_or_prepare_with(path, options).made_because, "max_seq_length: expected '256', found '64'");
  options.packing = Packing::none;
  EXPECT_EQ(load_or_prepare_with(path, options).made_because, "packing: expected 'none', found 'wrapped'");
  options.assistant_only_loss = true;
  EXPECT_EQ(load_or_prepare_with(path, options).made_because,
            "assistant_only_loss: expected 'true', found 'auto'");
  folder.write("rows.jsonl", generated(21));
  EXPECT_THAT(load_or_prepare_with(path, options).made_because, HasSubstr("data_sha256: expected"));
  EXPECT_EQ(load_or_prepare_with(path, options).made_because, "");

  std::filesystem::resize_file(path, 4000);
  EXPECT_THAT(load_or_prepare_with(path, options).made_because, HasSubstr("incomplete"));
  EXPECT_EQ(load_or_prepare_with(path, options).made_because, "");

  folder.write("rows.jsonl", generated(20) + "{\"text\": \"\"}\n");
  load_or_prepare_with(path, options_for(file));
  EXPECT_EQ(read_text(path, ExitCode::data), bytes);  // made again: the same file
}

TEST_F(LoadOrPrepare, DoesNotOverwriteAForeignFile) {
  const TemporaryDirectory folder;
  const auto file = folder.write("rows.jsonl", generated(2));
  const auto foreign = folder.write("thesis.txt", "years of work");
  error_of(ExitCode::data, [&] { load_or_prepare_with(foreign, options_for(file)); });
  EXPECT_EQ(read_text(foreign, ExitCode::data), "years of work");
}

class Preview : public WithRealTextModel {};

TEST_F(Preview, ShowsWhatIsSupervisedMaskedAndClipped) {
  const RealTextModel& model = real_text_model();
  const TemporaryDirectory folder;
  const auto file = folder.write("mixed.jsonl", kMixed);
  const auto show = [&](const PrepareOptions& options, int64_t documents, bool colour) {
    return preview(options, model.tokenizer, &model.chat_template, documents, colour);
  };
  const std::string wide = show(options_for(file, 100), 1, false);
  EXPECT_THAT(wide, HasSubstr("«supervised»  masked  [-clipped-]  │ end of a sequence of 100 tokens\n"));
  EXPECT_THAT(wide, HasSubstr("2+2?<|im_end|>\n<|im_start|>assistant\n«4<|im_end|>»\n"));
  EXPECT_THAT(wide, HasSubstr(file.string() + ":1: "));
  EXPECT_THAT(wide, HasSubstr(" 2 supervised, "));
  EXPECT_THAT(wide, Not(HasSubstr("free")));

  const std::string three = show(options_for(file, 100), 3, false);
  EXPECT_THAT(three, HasSubstr(file.string() + ":2: skipped, no assistant turn\n"));
  EXPECT_THAT(three, HasSubstr("«free text»"));

  const std::string narrow = show(options_for(file, 3, Packing::none), 1, false);
  EXPECT_THAT(narrow, HasSubstr("[-"));
  EXPECT_THAT(narrow, HasSubstr(" 0 supervised, 3 masked, "));

  const std::string coloured = show(options_for(file, 100), 1, true);
  EXPECT_THAT(coloured, HasSubstr("\x1b[32m4<|im_end|>\x1b[0m"));
  EXPECT_THAT(coloured, Not(HasSubstr("«")));
}

TEST_F(Preview, MarksWhereSequencesEnd) {
  const RealTextModel& model = real_text_model();
  const TemporaryDirectory folder;
  const auto file = folder.write(
      "t.jsonl", "{\"text\": \"111\"}\n{\"text\": \"2222\"}\n");  // digits are tokens of their own
  const std::string text = preview(options_for(file, 2), model.tokenizer, &model.chat_template, 2, false);
  EXPECT_THAT(text, HasSubstr("«11»│«1»\n"));
  EXPECT_THAT(text, HasSubstr("«2»│«22»│«2»\n"));
}

TEST_F(Preview, NothingActsOnTheTerminal) {
  const RealTextModel& model = real_text_model();
  const TemporaryDirectory folder;
  const auto file =
      folder.write("t.jsonl", R"({"text": "\u001b]0;title\u0007 a\u202eb \u009b31m 👩‍👧"})");
  const std::string text = preview(options_for(file, 200), model.tokenizer, &model.chat_template, 1, false);
  EXPECT_THAT(text, HasSubstr("\\x1b]0;title\\x07 a\\xe2\\x80\\xaeb \\xc2\\x9b31m 👩‍👧"));
}

// Packed rows of tokens that are supervised from the first one have no prompt: they are told apart by all
// they say.
TEST_F(Prepare, RowsOfTokensWithoutAPromptAreNoDuplicatesOfEachOther) {
  const TemporaryDirectory folder;
  std::string rows;
  for (int i = 0; i < 40; ++i) {
    const std::string token = std::to_string(1000 + i % 30);  // ten occur twice
    rows += R"({"input_ids": [9, )" + token + R"(], "labels": [9, )" + token + "]}\n";
  }
  PrepareOptions options = options_for(folder.write("rows.jsonl", rows), 64, Packing::none);
  options.split = Split::training;
  const PrepareReport report = prepare_with(options).report;
  EXPECT_EQ(report.skipped.at("prompt of an earlier row").rows, 10);
  EXPECT_GT(report.documents, 20);
}

}  // namespace
}  // namespace gorgon
