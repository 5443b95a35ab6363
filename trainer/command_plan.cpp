#include <chrono>
#include <optional>

#include <fmt/format.h>

#include "kernels/convert.h"
#include "kernels/error.h"
#include "kernels/fp8_linear.h"
#include "kernels/gemm.h"
#include "model/model_weights.h"
#include "trainer/commands.h"
#include "trainer/data_sets.h"
#include "trainer/memory_plan.h"
#include "trainer/rank_plan.h"

namespace gorgon {
namespace {

constexpr double kBytesPerToken = 4.0;    // of English text, about
constexpr double kShareOfProducts = 0.8;  // of a step's time that is spent in its products, about

std::string gibibytes(int64_t bytes) {
  return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / static_cast<double>(int64_t{1} << 30));
}

std::string hours(double seconds) {
  if (seconds < 90) return fmt::format("{:.0f} s", seconds);
  if (seconds < 5400) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.1f} h", seconds / 3600);
}

// Operations a second of a product as large as those of a step.
double measured_rate(DType type, const Stream& stream) {
  constexpr int64_t kSize = 1024;
  const Tensor a = Tensor::zeros(type, {kSize, kSize}, stream.device());
  const Tensor b = Tensor::zeros(type, {kSize, kSize}, stream.device());
  Tensor c(DType::f32, {kSize, kSize}, stream.device());
  const auto product = [&] { gemm(a.view(), b.view(), c.view(), {.transpose_b = true}, stream); };
  product();
  stream.synchronize();
  constexpr double kLeast = 0.2;  // seconds
  const auto begin = std::chrono::steady_clock::now();
  double seconds = 0;
  int64_t calls = 0;
  for (; seconds < kLeast; ++calls) {
    product();
    stream.synchronize();
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  return 2.0 * kSize * kSize * kSize * static_cast<double>(calls) / seconds;
}

// Tokens of an epoch, from the size of the text.
double tokens_of_text(const RunConfig& config) {
  double bytes = 0;
  for (const std::string& path : config.train_dataset_path) {
    std::error_code ignored;
    const auto size = std::filesystem::file_size(path, ignored);
    if (!ignored) bytes += static_cast<double>(size);
  }
  return bytes / kBytesPerToken;
}

bool fits(const RunConfig& config, const ModelConfig& model, Device device, int64_t micro_batch,
          int64_t free) {
  return plan_memory(config, model, device.kind, micro_batch).total() <= free;
}

// The largest per_device_train_batch_size (a power of two) that fits, or what to change where none does.
std::string advice(const RunConfig& config, const ModelConfig& model, Device device, int64_t free) {
  int64_t best = 0;
  for (int64_t batch = 1; batch <= config.global_batch(); batch *= 2) {
    if (fits(config, model, device, batch, free)) best = batch;
  }
  if (best > 0) {
    return fmt::format(
        "per_device_train_batch_size: {} is the largest power of two that fits; set global_batch_size: {} "
        "beside it to keep the result",
        best, config.global_batch());
  }
  RunConfig smaller = config;
  smaller.load_in_8bit = true;
  smaller.load_in_4bit = false;
  if (!config.load_in_8bit && !config.load_in_4bit && fits(smaller, model, device, 1, free)) {
    return "set load_in_8bit: true and per_device_train_batch_size: 1";
  }
  smaller.load_in_8bit = false;
  smaller.load_in_4bit = true;
  if (!config.load_in_4bit && fits(smaller, model, device, 1, free)) {
    return "set load_in_4bit: true and per_device_train_batch_size: 1";
  }
  smaller.heads.linear = HeadLinear::lowrank;
  if (config.heads.linear == HeadLinear::own && fits(smaller, model, device, 1, free)) {
    return "set load_in_4bit: true, medusa_head_linear: lowrank and per_device_train_batch_size: 1";
  }
  return "nothing that fits here; take a smaller model or a larger device";
}

// Of the data, where it is prepared; else as if every token were supervised.
StepRows rows_of_step(const RunConfig& config) {
  const std::filesystem::path file =
      train_dataset_file(std::filesystem::path(config.output_dir) / "prepared");
  if (!std::filesystem::exists(file)) {
    return all_supervised(config.global_batch() * config.max_seq_length, config.heads.num_heads);
  }
  const Dataset dataset = read_dataset(file);
  return mean_step(dataset, config.heads.num_heads, config.steps_per_epoch(dataset.sequences()));
}

void print_ranks(const RunConfig& config, const ModelConfig& model, Device device, int ranks,
                 std::optional<int64_t> free) {
  const StepRows step = rows_of_step(config);
  fmt::print("{}", rank_plan_table(plan_ranks(config, model, device.kind, ranks, step, free)));
  fmt::print("  {:<44} {:>12}\n", "supervised rows of a step, all heads", step.rows);
}

}  // namespace

int plan_command(const PlanArguments& arguments, Console& console) {
  const LoadedConfig loaded = load_config(arguments.config, arguments.overrides);
  RunConfig config = loaded.config;
  for (const std::string& note : loaded.notes) console.info(note);
  check_model_path(config.model_path);
  const ModelConfig model = load_model_config(config.model_path);
  const Device device = parse_device(config.device);
  if (config.fp8) check_fp8(device);

  const MemoryPlan plan = plan_memory(config, model, device.kind, config.per_device_train_batch_size);
  const std::optional<int64_t> free = free_bytes(device);
  fmt::print("memory on {}\n", to_string(device));
  for (const PlannedBuffer& buffer : plan.buffers) {
    fmt::print("  {:<44} {:>12}\n", buffer.name, gibibytes(buffer.bytes));
  }
  fmt::print("  {:<44} {:>12}\n", "together", gibibytes(plan.total()));
  if (free) {
    fmt::print("  {:<44} {:>12}  {}\n", "free now", gibibytes(*free),
               plan.total() <= *free ? "it fits" : "too little");
    fmt::print("  {}\n", advice(config, model, device, *free));
  }

  if (arguments.ranks > 1) {
    if (config.global_batch_size == 0) config.global_batch_size = config.global_batch() * arguments.ranks;
    print_ranks(config, model, device, arguments.ranks, free);
  }

  const DiskPlan disk = plan_disk(config, model);
  fmt::print("disk\n  {:<44} {:>12}\n  {:<44} {:>12}\n", "a checkpoint", gibibytes(disk.checkpoint),
             "the run directory at most", gibibytes(disk.most));

  const WorkPlan work = plan_work(config, model);
  const double rate = measured_rate(config.compute(), Stream(device));
  const double per_token = work.backbone_flop_per_token + work.heads_flop_per_row;
  const double tokens_per_s = kShareOfProducts * rate / per_token;
  fmt::print("time\n  {:<44} {:>12}\n  {:<44} {:>12}\n", "GFLOP a token, every token supervised",
             fmt::format("{:.2f}", per_token / 1e9), "GFLOP/s of a product here, measured",
             fmt::format("{:.0f}", rate / 1e9));
  fmt::print("  {:<44} {:>12}\n", "tokens/s, about", fmt::format("{:.0f}", tokens_per_s));
  const double tokens = tokens_of_text(config);
  if (tokens > 0) {
    const double seconds = tokens * config.num_train_epochs / tokens_per_s;
    fmt::print("  {:<44} {:>12}\n",
               fmt::format("{} epochs of about {:.0f} tokens", config.num_train_epochs, tokens),
               hours(seconds));
  }
  return 0;
}

}  // namespace gorgon
