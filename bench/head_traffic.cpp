// Prints the tables of docs/traffic.md: what a rank receives in a training step, counted from shapes by the
// functions that the tests hold the counted bytes to (trainer/parallel_heads.h).
#include <string>

#include <fmt/format.h>

#include "trainer/parallel_heads.h"

namespace gorgon {
namespace {

constexpr int64_t kRows = 4096;  // of a step, over all ranks, each supervised for every head
constexpr int kHeads = 5;
constexpr int kRanks[] = {2, 4, 8, 64};

struct Model {
  const char* name;
  int64_t vocabulary, hidden;
};
constexpr Model kModels[] = {
    {"SmolLM2-135M", 49152, 576}, {"Zephyr-7B", 32000, 4096}, {"Llama-3-8B", 128256, 4096}};

// Bytes a second that reach one GPU or machine at most.
struct Link {
  const char* name;
  double rate;
};
constexpr Link kLinks[] = {{"NVLink 4, 450 GB/s", 450e9},
                           {"PCIe 4.0 x16, 31.5 GB/s", 31.5e9},
                           {"100 Gb Ethernet, 12.5 GB/s", 12.5e9}};

double received(const Model& model, ParallelHeads mode, int n) {
  const HeadShapes shapes{
      {kHeads, 1, HeadLinear::own, 0, kFullVocabulary}, model.hidden, model.vocabulary, DType::bf16};
  const StepTraffic all = mode == ParallelHeads::vocab ? vocab_traffic(shapes, kRows, kHeads * kRows, n)
                                                       : replicate_traffic(shapes, n);
  return static_cast<double>(all.total()) / n;
}

void print_bytes() {
  fmt::print("| model | mode | n = 2 | n = 4 | n = 8 | n = 64 |\n|---|---|---|---|---|---|\n");
  for (const Model& model : kModels) {
    for (const auto& [name, mode] :
         {std::pair{"replicate", ParallelHeads::replicate}, {"vocab", ParallelHeads::vocab}}) {
      fmt::print("| {} | {} |", model.name, name);
      for (const int n : kRanks) fmt::print(" {:.1f} MB |", received(model, mode, n) / 1e6);
      fmt::print("\n");
    }
  }
}

void print_seconds() {
  fmt::print("\n| model, n = 8 | mode |");
  for (const Link& link : kLinks) fmt::print(" {} |", link.name);
  fmt::print("\n|---|---|---|---|---|\n");
  for (const Model& model : kModels) {
    for (const auto& [name, mode] :
         {std::pair{"replicate", ParallelHeads::replicate}, {"vocab", ParallelHeads::vocab}}) {
      fmt::print("| {} | {} |", model.name, name);
      for (const Link& link : kLinks) fmt::print(" {:.1f} ms |", 1e3 * received(model, mode, 8) / link.rate);
      fmt::print("\n");
    }
  }
}

}  // namespace
}  // namespace gorgon

int main() {
  gorgon::print_bytes();
  gorgon::print_seconds();
}
