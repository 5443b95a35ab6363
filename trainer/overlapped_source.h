#pragma once

#include <memory>

#include "trainer/state_source.h"

namespace gorgon {

// A source whose next step is made on a GPU while the caller's stream works on this one: the rows of next()
// are there already but for the first time, and the step behind them is asked for before the call returns.
// Two tables of states take turns, and the source has a stream of its own with all that belongs to it
// (working memory, cuBLASLt). Streams wait for each other on the device; the host waits for neither. Rows,
// order and bits are those of `source`, and state() is that of the rows handed out last. Where the caller's
// stream is profiled, steps are made one behind the other in it.
struct OverlapOptions {
  int64_t max_steps = 0;     // no step is made ahead of the last one
  int64_t global_batch = 1;  // sequences a step
  int64_t reserved = 0;      // bytes of working memory (Arena::reserve)
};
std::unique_ptr<StateSource> overlapped_source(std::unique_ptr<StateSource> source,
                                               const OverlapOptions& options, const Stream& stream);

}  // namespace gorgon
