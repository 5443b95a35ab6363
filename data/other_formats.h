#pragma once

#include <string>
#include <string_view>

namespace gorgon {

// Throws Error(data) when a file that should be JSONL begins (its first bytes, at most 1 MiB) as another kind
// of file that people have: names the kind, and the command that converts it. What is just damaged JSONL
// passes.
void refuse_other_formats(const std::string& file, std::string_view begin);

}  // namespace gorgon
