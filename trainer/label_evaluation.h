#pragma once

#include <vector>

#include "data/dataset_file.h"
#include "trainer/console.h"
#include "trainer/decode_inputs.h"
#include "trainer/rank_share.h"
#include "trainer/traces.h"

namespace gorgon {

// Loss and hits of every head against a data set's own labels, over at most `limit` sequences (-1 = all). For
// a run's heads in the run's own type these are the numbers of its own evaluation, to the bit where the
// model's weights are plain.
std::vector<HeadSums> evaluate_labels(const DecodeInputs& inputs, const Dataset& dataset, int64_t limit,
                                      RankShare& share, Console& console);

}  // namespace gorgon
