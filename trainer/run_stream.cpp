#include "trainer/run_stream.h"

#include <utility>

#include "kernels/error.h"

namespace gorgon {

Stream make_stream(const RunConfig& config, const StopSignal* stop, std::chrono::seconds limit) {
  using Clock = std::chrono::steady_clock;
  StreamOptions options;
  options.tf32 = config.tf32;
  const auto end = limit.count() > 0 ? Clock::now() + limit : Clock::time_point::max();
  options.stop_wanted = [stop, end] { return (stop != nullptr && stop->requested()) || Clock::now() >= end; };
  return Stream(parse_device(config.device), std::move(options));
}

Stream make_stream(const RunConfig& config, const StopSignal* stop, const RankGroup& ranks,
                   std::chrono::seconds limit) {
  if (!ranks.is_several()) return make_stream(config, stop, limit);
  StreamOptions options;
  options.tf32 = config.tf32;
  options.threads = threads_per_rank(ranks.local_size());
  options.stop_wanted = [&ranks] { return ranks.stop_agreed(); };
  const Device device = parse_device(config.device);
  if (device.kind != DeviceKind::cpu) {
    fail(ExitCode::config, {"", "device", "cpu, where several ranks work together", to_string(device),
                            "set device: cpu, or start one process"});
  }
  return Stream(device, std::move(options));
}

}  // namespace gorgon
