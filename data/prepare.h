#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/conversations.h"
#include "data/packing.h"
#include "data/prompt_hashes.h"
#include "data/splits.h"
#include "data/supervision.h"

namespace gorgon {

class ThreadPool;

struct PrepareOptions {
  std::vector<std::string> files;  // JSONL: paths or globs
  int64_t max_seq_length = 2048;   // tokens
  int64_t context_length = 0;      // tokens that max_seq_length can be raised to; 0: any number
  Packing packing = Packing::wrapped;
  int64_t vocabulary = 0;  // ids of rows of tokens lie below; 0: the tokenizer's (a model may have more)
  RowColumns columns;
  std::optional<bool> assistant_only_loss;  // unset: false for text, true for chats
  // Only the rows whose prompt (prompt_text) falls into this split, without duplicates; unset: all rows.
  std::optional<Split> split;
  bool may_be_unsupervised = false;  // nothing to train on is then no error: the rows may be prompts alone
};

// What became of the rows. Tokens are counted before clipping.
struct PrepareReport {
  struct Skipped {
    int64_t rows = 0;
    std::string first;  // FILE:LINE of the first one, and why where the template refused it
  };
  int64_t rows = 0;                        // lines that are not blank
  std::map<std::string, Skipped> skipped;  // by reason: describe(SkipReason), or for which split they are
  int64_t documents = 0;                   // rows that were used
  int64_t tokens = 0, supervised_tokens = 0;
  int64_t clipped_tokens = 0, clipped_documents = 0;  // packing none
  int64_t sequences = 0;
  int64_t empty_sequences = 0;  // sequences without any supervised token; they are kept
};
// Whether a reason of `skipped` is no fault of the row: it belongs to another split or repeats a prompt.
bool is_put_aside(const std::string& reason);
std::string to_text(const PrepareReport& report);  // a few lines for a terminal

struct PreparedDataset {
  Dataset dataset;
  PrepareReport report;
  PromptHashes prompts;      // of the rows that were used
  std::string made_because;  // load_or_prepare: why it was made anew; "" when it was read
};

// bytes of the files read so far, and of all. May throw to stop.
using PrepareProgress = std::function<void(int64_t done, int64_t total)>;

// Reads, renders, tokenises, masks and packs. Files are streamed; documents are tokenised on the threads of
// `pool` and stay in their order, so that the result does not depend on how many there are. chat_template may
// be nullptr where the model has none. The attributes are those of dataset_identity, and the report. Throws
// Error(data) for a file, line or field that is wrong, and where no row at all can be used; Error(model)
// where the tokenizer writes a token that `vocabulary` has no row for.
PreparedDataset prepare(const PrepareOptions& options, const Tokenizer& tokenizer,
                        const ChatTemplate* chat_template, ThreadPool& pool,
                        const PrepareProgress& progress = {});

// What a prepared data set depends on: format, SHA-256 of data files, tokenizer and template, and the keys
// that matter. Reads all files to sum them up.
std::map<std::string, std::string> dataset_identity(const PrepareOptions& options,
                                                    const Tokenizer& tokenizer);

// Where the hashes of the prompts of the data set at `path` are kept: beside it.
std::filesystem::path prompts_file(const std::filesystem::path& path);

// Reads `path` when it holds what prepare() would make, else makes it and writes it there. A file that is no
// data set of gorgon's is not overwritten: Error(data).
PreparedDataset load_or_prepare(const std::filesystem::path& path, const PrepareOptions& options,
                                const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                                ThreadPool& pool, const PrepareProgress& progress = {});

}  // namespace gorgon
