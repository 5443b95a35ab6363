#include "trainer/run_stream.h"

namespace gorgon {

Stream make_stream(const RunConfig& config, const StopSignal* stop) {
  StreamOptions options;
  options.tf32 = config.tf32;
  if (stop != nullptr) options.stop_wanted = [stop] { return stop->requested(); };
  return Stream(parse_device(config.device), std::move(options));
}

}  // namespace gorgon
