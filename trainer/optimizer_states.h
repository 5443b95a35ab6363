#pragma once

#include <vector>

#include "model/medusa_heads.h"
#include "optim/optimizer.h"
#include "trainer/head_ranks.h"

namespace gorgon {

// Every tensor of an optimizer whose groups are the parts that this rank updates of `parameters`, with its
// name in a checkpoint ("optimizer.0.1.weight.momentum", ...) and what other ranks hold of it.
std::vector<NamedState> optimizer_states(Optimizer& optimizer, const std::vector<NamedParameter>& parameters,
                                         const GradientExchange& exchange);

}  // namespace gorgon
