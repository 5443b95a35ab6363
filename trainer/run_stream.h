#pragma once

#include <chrono>

#include "kernels/device.h"
#include "kernels/ranks/rank_group.h"
#include "trainer/run_config.h"
#include "trainer/stop_signal.h"

namespace gorgon {

// The stream that a command works on: the config's device and tf32. Its stop points throw Stopped once `stop`
// is requested (nullptr: never), or when this call is `limit` ago (0: never). `stop` must outlive the stream.
Stream make_stream(const RunConfig& config, const StopSignal* stop, std::chrono::seconds limit = {});
// Of one rank of a job (the same as above where it has one): its share of the machine's cores, or the GPU of
// its number on it; Error(config) where those are fewer. Several ranks stop together, so that none waits for
// another: the caller asks them (TrainingRun, RankShare), and the stream throws where they have agreed.
// `ranks` must outlive the stream.
Stream make_stream(const RunConfig& config, const StopSignal* stop, const RankGroup& ranks,
                   std::chrono::seconds limit = {});

}  // namespace gorgon
