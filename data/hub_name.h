#pragma once

#include <string>

namespace gorgon {

// "org/name", as the Hugging Face hub names models and data sets; a path that only looks relative is one too.
bool looks_like_hub_name(const std::string& path);

// What to do about a model path where nothing is: the command that downloads a hub's model to that very path,
// or to check the path.
std::string how_to_get_model(const std::string& path);

}  // namespace gorgon
