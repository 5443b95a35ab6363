#pragma once

#include <cstdint>
#include <string>

#include "data/prepare.h"

namespace gorgon {

// What the first `documents` usable documents teach: their tokens as text, supervised ones green, masked ones
// grey, clipped ones (behind max_seq_length, with packing none) red, under a legend and with counts. Without
// colour, supervised text stands in «» and clipped text in [- -]. With packing wrapped, "│" marks where a
// sequence ends. Characters that could act on a terminal are escaped.
std::string preview(const PrepareOptions& options, const Tokenizer& tokenizer,
                    const ChatTemplate* chat_template, int64_t documents, bool colour);

}  // namespace gorgon
