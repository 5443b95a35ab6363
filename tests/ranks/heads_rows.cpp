#include "tests/ranks/heads_rows.h"

#include <fmt/format.h>

namespace gorgon {
namespace {

// For the emulated GPU, in both modes: "few": own and low rank, "own": own.
std::vector<Row> few_rows(bool lowrank) {
  std::vector<Row> rows;
  for (const bool divided : {false, true}) {
    rows.push_back({HeadLinear::own, 0, 2, 1, divided, divided});
    if (lowrank) rows.push_back({HeadLinear::lowrank, 0, 2, 1, divided, divided});
  }
  return rows;
}

}  // namespace

std::string Row::name() const {
  const char* linears[] = {"own", "shared", "lowrank"};
  const char* vocabularies[] = {"full", "seen", "half"};
  return fmt::format("{} {} K={} L={} {} {}{}", linears[static_cast<int>(linear)], vocabularies[vocabulary],
                     heads, layers, wrapped ? "wrapped" : "none", divided ? "vocab" : "replicate",
                     filter > 0 ? " filter" : "");
}

std::vector<Row> table(const std::string& which) {
  if (!which.empty()) return few_rows(which == "few");
  std::vector<Row> rows;
  for (const HeadLinear linear : {HeadLinear::own, HeadLinear::shared, HeadLinear::lowrank}) {
    for (const int vocabulary : {0, 1, 2}) {
      for (int heads = 1; heads <= 5; ++heads) {
        for (const bool divided : {false, true}) {
          // Both kinds of packing, and two layers, for every form.
          rows.push_back({linear, vocabulary, heads, heads == 2 ? 2 : 1, heads % 2 == 1, divided});
        }
      }
    }
  }
  for (int heads = 1; heads <= 5; ++heads) {
    for (const bool divided : {false, true})
      rows.push_back({HeadLinear::own, 0, heads, 1, heads % 2 == 0, divided});
  }
  // Chunks of replicate are those of a rank's own rows, so that other tokens pass the filter; those of vocab
  // are of all rows.
  for (const HeadLinear linear : {HeadLinear::own, HeadLinear::lowrank})
    rows.push_back({linear, 0, 3, 1, false, true, kFilter});
  return rows;
}

Dataset sequences_of(TinyModel& model, bool wrapped) {
  Dataset dataset;
  dataset.offsets.push_back(0);
  for (const int length : {40, 3, 61, 24, 2, 33, 40, 5}) {
    const std::vector<int32_t> tokens = model.prompt(wrapped ? 40 : length);
    for (const int32_t token : tokens) {
      dataset.tokens.push_back(token);
      dataset.labels.push_back(token % 5 == 0 ? kIgnoreIndex : token);
      dataset.segments.push_back(0);
    }
    dataset.offsets.push_back(std::ssize(dataset.tokens));
  }
  return dataset;
}

HeadTrainerOptions options_of(const Row& row) {
  HeadTrainerOptions options;
  options.heads = {row.heads, row.layers, row.linear, 3, kFullVocabulary};
  options.loss.decay_coefficient = 0.8;
  options.optimizer.eight_bit = row.narrow;
  options.optimizer.max_grad_norm = row.narrow ? 0 : 0.01f;  // every step is clipped
  options.lr.learning_rate = 1e-3;
  options.lr_multiplier.assign(static_cast<size_t>(row.heads), 1.0);
  options.max_steps = kSteps;
  options.chunk_rows = 64;  // several chunks
  options.gradient_filter = row.filter;
  for (int32_t id = 0; id < kVocabulary && row.vocabulary > 0; id += row.vocabulary == 1 ? 13 : 2) {
    options.vocab_ids.push_back(id);
  }
  return options;
}

}  // namespace gorgon
