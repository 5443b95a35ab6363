#pragma once

#include "kernels/device.h"
#include "trainer/run_config.h"
#include "trainer/stop_signal.h"

namespace gorgon {

// The stream that a command works on: the config's device and tf32. Its stop points throw Stopped once `stop`
// is requested; nullptr: never. `stop` must outlive the stream.
Stream make_stream(const RunConfig& config, const StopSignal* stop);

}  // namespace gorgon
