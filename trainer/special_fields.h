#pragma once

#include <string>
#include <vector>

#include "trainer/config_field.h"

// Fields whose values are neither one number, one word nor one text.
namespace gorgon::config_field {

ConfigField train_paths();
ConfigField eval_paths();
ConfigField columns();
ConfigField compute_type();  // the key bf16
ConfigField max_run_time();
ConfigField vocab_gradient_filter();
ConfigField device();

// A key of which this version has nothing but what `accepted` names, the values that mean off among them; the
// first is the default. Others are refused with `remedy`.
ConfigField only(const Key& key, const std::vector<std::string>& accepted, const std::string& remedy);

}  // namespace gorgon::config_field
