// text_to_sql_generator: writes the quickstart's data set.
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>

#include "data/file.h"
#include "data/generator/text_to_sql.h"
#include "kernels/error.h"

namespace gorgon::generator {
namespace {

struct Options {
  int64_t rows = 2000;
  uint64_t seed = 42;
  std::string split = "train";
  std::string output;
};

void add_options(CLI::App& app, Options& options) {
  app.add_option("--rows", options.rows, "conversations to write")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}))
      ->capture_default_str();
  app.add_option("--seed", options.seed,
                 "other numbers give other rows; the same one the same file on every machine")
      ->capture_default_str();
  app.add_option("--split", options.split,
                 "train or eval: no prompt of one occurs in the other, whatever the seeds")
      ->check(CLI::IsMember({"train", "eval"}))
      ->capture_default_str();
  app.add_option("--output", options.output, "JSONL file to write")->required();
  app.footer(
      "Each line is {\"messages\": [...]}: a system prompt with random tables, a question in English, the "
      "SQL query "
      "that answers it.\n\nExample:\n"
      "  text_to_sql_generator --rows 2000 --split train --output runs/quickstart-data/train.jsonl\n"
      "  text_to_sql_generator --rows 200 --split eval --output runs/quickstart-data/eval.jsonl");
}

void generate(const Options& options) {
  write_atomically(options.output, [&options](int descriptor) {
    ChatStream chats(options.seed, options.split == "eval" ? Split::eval : Split::train);
    std::string text;
    for (int64_t row = 0; row < options.rows; ++row) {
      text += to_json_line(chats.next());
      if (text.size() < (size_t{1} << 20) && row + 1 < options.rows) continue;
      write_all(descriptor, text.data(), text.size(), options.output);
      text.clear();
    }
  });
}

}  // namespace
}  // namespace gorgon::generator

int main(int argc, char** argv) {
  CLI::App app("Writes a data set of text-to-SQL conversations: varied, deterministic, free of any licence.");
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
