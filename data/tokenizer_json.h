#pragma once

#include "data/json.h"
#include "data/tokenizer_spec.h"

namespace gorgon {

// Parts of a tokenizer.json (https://github.com/huggingface/tokenizers). What they do not know they refuse,
// Error(model), by name.

// "normalizer": NFC, NFD, NFKC, NFKD, Prepend, Replace of a string, and Sequence of them.
void read_normalizer(const Json& node, const JsonOptions& options, TokenizerSpec& spec);

// "pre_tokenizer": Split, Digits, ByteLevel, Metaspace, and Sequence of them. Sets spec.byte_level.
void read_pre_tokenizer(const Json& node, const JsonOptions& options, TokenizerSpec& spec);

// "decoder" and "post_processor": spec.strip_space, and spec.adds_bos where the template begins with a token.
void read_decoder(const Json& node, TokenizerSpec& spec);
void read_post_processor(const Json& node, TokenizerSpec& spec);

// A member that may be missing or null.
bool json_flag(const Json& object, const char* key, bool otherwise, const JsonOptions& options);
std::string json_text(const Json& object, const char* key, const std::string& otherwise,
                      const JsonOptions& options);
const Json& json_member(const Json& object, const char* key);  // null where there is none

}  // namespace gorgon
