#pragma once

#include <string>

#include "trainer/run_config.h"

namespace gorgon {

// What an export says of its run, so that `gorgon eval EXPORT` looks at data as `gorgon eval RUN` does: how
// text becomes labels, how much each head's loss counts, and how the model is quantised when it is loaded.
// Lines "key: value" as in config.yaml. Paths stay out: they are those of the run's machine.
constexpr const char* kRunKeys = "run_keys";  // in the metadata of the heads' file

std::string run_keys(const RunConfig& config);
// Sets them in `config`. Throws Error(checkpoint) naming `file`, the key, what was expected and found for
// another key or a value that the key cannot have.
void set_run_keys(const std::string& text, const std::string& file, RunConfig& config);

}  // namespace gorgon
