#include <fmt/format.h>

#include "data/file.h"
#include "data/safetensors.h"
#include "kernels/error.h"
#include "trainer/commands.h"
#include "trainer/decode_inputs.h"
#include "trainer/export.h"
#include "trainer/output_file.h"
#include "trainer/run_stream.h"

namespace gorgon {

int export_command(const ExportArguments& arguments, Console& console, const StopSignal& stop) {
  require_new_directory(arguments.output);
  FoundHeads found = find_heads(arguments.heads, console);
  if (!arguments.model.empty()) found.config.model_path = arguments.model.string();
  if (found.is_export) {
    fail(ExitCode::checkpoint,
         {arguments.heads.string(), "", "a run directory or a checkpoint", "an export", ""});
  }
  const Stream stream = make_stream(found.config, &stop);
  const ModelWeights weights =
      load_same_model(found, found.config.compute(), WeightStorage::converted, stream);
  const ExportReport report = export_hf(found, weights, arguments.output, stream, stage_bars(console));
  fmt::print("wrote {} ({} heads, {} layers); reloaded, logits equal the run's to {:.1e}\n",
             arguments.output.string(), report.heads, report.layers, report.largest_difference);
  if (report.run_accept_length > 0) {
    fmt::print(
        "accepted length (greedy, tokens a step, on {}): {:.3f} with rows of zeros for the tokens the heads "
        "leave out, the run's heads {:.3f}\n",
        report.measured_on, report.accept_length, report.run_accept_length);
    if (report.accept_length < 0.99 * report.run_accept_length) {
      console.warn(
          "the expanded heads are accepted less than the run's: tokens they leave out win with logit 0");
    }
  }
  for (const std::string& file : report.files) fmt::print("  {}\n", file);
  return 0;
}

}  // namespace gorgon
