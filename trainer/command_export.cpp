#include <fmt/format.h>

#include "data/file.h"
#include "data/safetensors.h"
#include "kernels/error.h"
#include "trainer/commands.h"
#include "trainer/decode_inputs.h"
#include "trainer/export.h"
#include "trainer/run_stream.h"

namespace gorgon {

int export_command(const ExportArguments& arguments, Console& console, const StopSignal& stop) {
  const FoundHeads found = find_heads(arguments.heads, console);
  if (found.is_export) {
    fail(ExitCode::checkpoint,
         {arguments.heads.string(), "", "a run directory or a checkpoint", "an export", ""});
  }
  const Stream stream = make_stream(found.config, &stop);
  const ModelWeights weights =
      load_same_model(found, found.config.compute(), WeightStorage::converted, stream);
  const ExportReport report = export_hf(found, weights, arguments.output, stream);
  fmt::print("wrote {} ({} heads, {} layers); reloaded, logits equal the run's to {:.1e}\n",
             arguments.output.string(), report.heads, report.layers, report.largest_difference);
  for (const std::string& file : report.files) fmt::print("  {}\n", file);
  return 0;
}

}  // namespace gorgon
