// gorgon_gpu_bench OUTPUT.json SECONDS PART...: times parts and whole steps on GORGON_TEST_DEVICE (default
// cuda). Every step stands beside the matrix products it cannot do without, back to back through the same
// library in the same run. PART is machine, optimizer, reference, bitsandbytes=FILE
// or a model of gpu_shapes.cpp; what does not
// fit into SECONDS is left out and said.
#include "bench/gpu/gpu_bench.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>

#include "kernels/error.h"

namespace gorgon::bench {

namespace {

class Deadline {
 public:
  explicit Deadline(double seconds) : end_(Clock::now() + std::chrono::duration<double>(seconds)) {}
  bool passed() const { return Clock::now() > end_; }

 private:
  using Clock = std::chrono::steady_clock;
  std::chrono::time_point<Clock, std::chrono::duration<double>> end_;
};

void run(const std::string& output, double seconds, const std::vector<std::string>& parts) {
  const char* device = std::getenv("GORGON_TEST_DEVICE");
  const Stream stream(parse_device(device == nullptr ? "cuda" : device));
  const Deadline deadline(seconds);
  std::vector<std::string> lines;
  const Sink sink = [&](const Line& line) {
    lines.push_back(line.json());
    std::fprintf(stderr, "%s\n", lines.back().c_str());
    // Written again each time: what is measured stays, whatever comes after it.
    std::ofstream file(output + ".new");
    file << "[\n";
    for (size_t i = 0; i < lines.size(); ++i) file << lines[i] << (i + 1 < lines.size() ? ",\n" : "\n");
    file << "]\n";
    file.close();
    std::rename((output + ".new").c_str(), output.c_str());
  };
  for (const std::string& part : parts) {
    if (part == "machine") {
      measure_machine(stream, sink);
    } else if (part == "optimizer") {
      measure_optimizer(stream, sink);
    } else if (part.rfind("bitsandbytes=", 0) == 0) {
      compare_with_bitsandbytes(part.substr(part.find('=') + 1), stream, sink);
    } else if (part == "reference") {
      const bool is_gpu = stream.device().kind == DeviceKind::cuda;
      const Sizes& sizes = is_gpu ? all_sizes().front() : all_sizes().back();
      const ReferenceJob job = is_gpu ? ReferenceJob{} : ReferenceJob{20, 4, 13, 16};
      measure_reference_job(
          sizes, job, stream, [&] { return deadline.passed(); }, sink);
    } else {
      const Sizes* sizes = nullptr;
      for (const Sizes& s : all_sizes()) sizes = s.name == part ? &s : sizes;
      if (sizes == nullptr) fail(ExitCode::config, {"", "part", "a model of gpu_shapes.cpp", part, ""});
      const std::vector<int64_t> tokens =
          part == "tiny" ? std::vector<int64_t>{64} : std::vector<int64_t>{4096, 16384};
      measure_steps(
          *sizes, tokens, stream, [&] { return deadline.passed(); }, sink);
    }
  }
}

}  // namespace

}  // namespace gorgon::bench

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: gorgon_gpu_bench OUTPUT.json SECONDS PART...\n");
    return 2;
  }
  try {
    gorgon::bench::run(argv[1], std::atof(argv[2]), std::vector<std::string>(argv + 3, argv + argc));
  } catch (const gorgon::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
