#pragma once

#include <memory>

#include "trainer/training_run.h"

namespace gorgon {

// Where a run takes the rows of its steps from: its cache, or the backbone, which must outlive the source.
std::unique_ptr<StateSource> source_of(const RunInputs& inputs, const Backbone& backbone);

// Whether a run whose model is loaded, and nothing else yet, can overlap its backbone with its heads as the
// config wants: on a GPU, with rows of its own from the backbone, where the memory for it is free. Says so
// where it is not.
bool can_overlap(const RunConfig& config, const ModelConfig& model, Device device, Console& console);

}  // namespace gorgon
