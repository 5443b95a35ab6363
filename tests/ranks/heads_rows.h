#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset_file.h"
#include "tests/model/tiny_model.h"
#include "trainer/head_trainer.h"

// The forms of heads that heads_program trains by all ranks and alone.

namespace gorgon {

constexpr int64_t kVocabulary = 150, kHidden = 32, kSteps = 3;
// Drops tokens of every chunk: gradients differ from those of all tokens by more than a thousandth of their
// norm, or the row fails.
constexpr double kFilter = 0.01, kDropped = 1e-3;

struct Row {
  HeadLinear linear;
  int vocabulary;  // 0: full, 1: a few ids, 2: about half of them
  int heads, layers;
  bool wrapped, divided;
  double filter = 0;    // vocab_gradient_filter
  bool narrow = false;  // bf16 with stochastic rounding and states of eight bits, nothing clipped

  DType type() const { return narrow ? DType::bf16 : DType::f32; }
  std::string name() const;
};

// Every form; "few", "own": those for the emulated GPU.
std::vector<Row> table(const std::string& which);

// Sequences of 40 tokens (wrapped: cut wherever they are full), or of any length, some without a row.
Dataset sequences_of(TinyModel& model, bool wrapped);

HeadTrainerOptions options_of(const Row& row);

}  // namespace gorgon
