#pragma once

#include <vector>

#include "data/dataset_file.h"
#include "trainer/console.h"
#include "trainer/decode_inputs.h"
#include "trainer/traces.h"

namespace gorgon {

// Loss and hits of every head against a data set's own labels, `batch` sequences at a time, over at most
// `limit` sequences (-1 = all).
std::vector<HeadSums> evaluate_labels(const DecodeInputs& inputs, const Dataset& dataset, int64_t batch,
                                      int64_t limit, Console& console);

}  // namespace gorgon
