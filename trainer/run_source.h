#pragma once

#include <memory>

#include "trainer/training_run.h"

namespace gorgon {

// Where a run takes the rows of its steps from: its cache, or the backbone, which must outlive the source.
std::unique_ptr<StateSource> source_of(const RunInputs& inputs, const Backbone& backbone);

}  // namespace gorgon
