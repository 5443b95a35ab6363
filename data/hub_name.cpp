#include "data/hub_name.h"

#include <algorithm>
#include <cctype>

namespace gorgon {

bool looks_like_hub_name(const std::string& path) {
  const size_t slash = path.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == path.size()) return false;
  if (path.find('/', slash + 1) != std::string::npos || path.front() == '.' || path.front() == '~')
    return false;
  return std::all_of(path.begin(), path.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '/' || c == '-' || c == '_' || c == '.';
  });
}

std::string how_to_get_model(const std::string& path) {
  if (!looks_like_hub_name(path) || path.ends_with(".gguf")) return "check the path";
  return "to download it: hf download " + path + " --local-dir " + path +
         " (hf comes with pip install -U huggingface_hub)";
}

}  // namespace gorgon
