#pragma once

#include "model/backbone.h"
#include "model/draft_heads.h"
#include "model/tree_construction.h"

namespace gorgon {

// A prompt of `tokens` tokens, all alike, forwarded into an empty cache; its states [tokens, H].
Tensor fill_cache(const Backbone& backbone, KvCache& cache, int64_t tokens, const Stream& stream);

// A call over a tree of so many nodes behind what the cache keeps: all children of the root, since any shape
// costs the same.
BackboneContext verify_call(KvCache& cache, int64_t nodes);

// Measures what a step costs here: a forward over trees of 1, 2, 4 ... max_nodes tokens behind `context`
// cached ones, and each head on one state. Medians of several runs after one to warm up.
StepCosts measure_step_costs(const Backbone& backbone, const DraftHeads& heads, int64_t context,
                             int64_t max_nodes, const Stream& stream);

}  // namespace gorgon
