#include "trainer/run_stream.h"

#include <utility>

#include "kernels/error.h"
#include "kernels/fp8_linear.h"

namespace gorgon {
namespace {

// A GPU for every rank of a machine, by its number there; a launcher may show each rank its own alone.
Device device_of_rank(const RunConfig& config, const RankGroup& ranks) {
  Device device = parse_device(config.device);
  if (device.kind == DeviceKind::cpu) return device;
  const int count = cuda::device_count();
  if (config.device.find(':') != std::string::npos || (count > 1 && count < ranks.local_size())) {
    fail(ExitCode::config,
         {"", "device", "cuda, and a GPU for each of the machine's ranks",
          config.device + ", " + std::to_string(count) + " GPUs for " + std::to_string(ranks.local_size()) +
              " ranks",
          "set device: cuda and start as many ranks as there are GPUs, or set device: cpu"});
  }
  device.index = ranks.local_rank() % count;
  return device;
}

}  // namespace

Stream make_stream(const RunConfig& config, const StopSignal* stop, std::chrono::seconds limit) {
  using Clock = std::chrono::steady_clock;
  StreamOptions options;
  options.tf32 = config.tf32;
  const auto end = limit.count() > 0 ? Clock::now() + limit : Clock::time_point::max();
  options.stop_wanted = [stop, end] { return (stop != nullptr && stop->requested()) || Clock::now() >= end; };
  const Device device = parse_device(config.device);
  if (config.fp8) check_fp8(device);
  return Stream(device, std::move(options));
}

Stream make_stream(const RunConfig& config, const StopSignal* stop, const RankGroup& ranks,
                   std::chrono::seconds limit) {
  if (!ranks.is_several()) return make_stream(config, stop, limit);
  StreamOptions options;
  options.tf32 = config.tf32;
  options.threads = ranks.threads();
  options.stop_wanted = [&ranks] { return ranks.stop_agreed(); };
  const Device device = device_of_rank(config, ranks);
  if (config.fp8) check_fp8(device);
  return Stream(device, std::move(options));
}

}  // namespace gorgon
