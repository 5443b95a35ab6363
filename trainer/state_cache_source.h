#pragma once

#include <memory>

#include "data/state_cache.h"
#include "trainer/state_source.h"

namespace gorgon {

// Rows whose states come from a cache. In document order (`shuffle` and `key` are the loader's) every step
// has the rows of its own sequences: those of the online source, to the bit where the backbone's are (f32;
// bf16 for batches of equal shape). `type` is that of the rows; the cache must outlive the source.
std::unique_ptr<StateSource> cached_source(const CacheReader& cache, const Dataset& dataset,
                                           const SourceOptions& options, DType type);

// All rows of an epoch in an order that is a function of (key, epoch), cut into as many steps as the
// sequences make, equal to one row. A step's `tokens` are its share of the data set's.
std::unique_ptr<StateSource> row_order_source(const CacheReader& cache, const Dataset& dataset,
                                              const SourceOptions& options, DType type);

}  // namespace gorgon
