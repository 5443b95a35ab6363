#pragma once

#include <cstdint>

#include "model/head_vocabulary.h"

namespace gorgon {

// What turns a head's last state into logits: a trained Linear of its own, the frozen lm_head, or lm_head + B
// A with B and A trained.
enum class HeadLinear : uint8_t { own, shared, lowrank };

struct MedusaOptions {
  int num_heads = 5;   // K
  int num_layers = 1;  // L ResBlocks a head, distinct
  HeadLinear linear = HeadLinear::own;
  int64_t rank = 16;                     // r of lowrank
  int64_t vocabulary = kFullVocabulary;  // the choice; the ids that it came to are MedusaHeads::vocab_ids
};

}  // namespace gorgon
