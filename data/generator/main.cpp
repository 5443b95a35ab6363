// chat_generator: writes the quickstart's data sets.
#include <cstdint>
#include <cstdio>
#include <exception>
#include <map>
#include <string>

#include <CLI/CLI.hpp>

#include "data/file.h"
#include "data/generator/record_chat.h"
#include "data/generator/text_to_sql.h"
#include "kernels/error.h"

namespace gorgon::generator {
namespace {

struct Options {
  std::string task = "json";
  int64_t rows = 2000;
  uint64_t seed = 42;
  std::string split = "train";
  std::string output;
};

void add_options(CLI::App& app, Options& options) {
  app.add_option("--task", options.task, "json: records to write as JSON, with an example; sql: text-to-SQL")
      ->check(CLI::IsMember({"json", "sql"}))
      ->capture_default_str();
  app.add_option("--rows", options.rows, "conversations to write")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}))
      ->capture_default_str();
  app.add_option("--seed", options.seed,
                 "other numbers give other rows; the same one the same file on every machine")
      ->capture_default_str();
  app.add_option(
         "--split", options.split,
         "train, calibration or test: no prompt of one occurs in another, whatever the seeds; eval: the "
         "last two")
      ->check(CLI::IsMember({"train", "eval", "calibration", "test"}))
      ->capture_default_str();
  app.add_option("--output", options.output, "JSONL file to write")->required();
  app.footer(
      "Each line is {\"messages\": [...]}: what is asked, and the right answer.\n\nExample:\n"
      "  chat_generator --task json --rows 400 --split train --output runs/quickstart-data/prompts.jsonl\n"
      "  chat_generator --task sql --rows 2000 --split train --output runs/text-to-sql/train.jsonl");
}

template <class Stream>
void write_chats(Stream chats, const Options& options) {
  write_atomically(options.output, [&](int descriptor) {
    std::string text;
    for (int64_t row = 0; row < options.rows; ++row) {
      text += to_json_line(chats.next());
      if (text.size() < (size_t{1} << 20) && row + 1 < options.rows) continue;
      write_all(descriptor, text.data(), text.size(), options.output);
      text.clear();
    }
  });
}

void generate(const Options& options) {
  const std::map<std::string, Split> splits = {{"train", Split::train},
                                               {"eval", Split::eval},
                                               {"calibration", Split::calibration},
                                               {"test", Split::test}};
  const Split split = splits.at(options.split);
  if (options.task == "sql") {
    write_chats(SqlChatStream(options.seed, split), options);
  } else {
    write_chats(RecordChatStream(options.seed, split), options);
  }
}

}  // namespace
}  // namespace gorgon::generator

int main(int argc, char** argv) {
  CLI::App app("Writes a data set of conversations: varied, deterministic, free of any licence.");
  gorgon::generator::Options options;
  try {
    gorgon::generator::add_options(app, options);
    app.parse(argc, argv);
    gorgon::generator::generate(options);
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(gorgon::ExitCode::config);
  } catch (const gorgon::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(gorgon::ExitCode::internal);
  }
}
