#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gorgon {

struct Gguf;

// A token of a text with the bytes of the text it covers: [begin, end). Tokens ascend and may cut a
// character; those of characters that a normaliser changes together share the range of all of them; a space
// that the tokenizer itself puts before a text covers nothing.
struct TokenSpan {
  int32_t id;
  int64_t begin, end;
};

// Byte-level BPE (GPT-2, Llama 3, SmolLM2, Qwen) and SentencePiece-style BPE with byte fallback (Llama 2,
// Mistral, Zephyr). Const and usable from several threads.
class Tokenizer {
 public:
  // From a model path: a GGUF file, or a Hugging Face directory with tokenizer.json (and
  // tokenizer_config.json, special_tokens_map.json for the template and the special tokens). Throws
  // Error(model).
  static Tokenizer load(const std::filesystem::path& model_path);
  static Tokenizer from_gguf(const Gguf& gguf);
  static Tokenizer from_directory(const std::filesystem::path& directory);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Special tokens that occur in the text are recognised; none is added. Text that no token can stand for and
  // that has no unknown token is left out, as Hugging Face's tokenizers and llama.cpp do. Text must be valid
  // UTF-8 of less than 2 GiB, else Error(data) with the byte; Error(model) where a pattern of the tokenizer
  // needs exponential time.
  std::vector<int32_t> encode(std::string_view text) const;
  std::vector<TokenSpan> encode_with_spans(std::string_view text) const;

  // Bytes of the tokens joined, without the space that encode puts before a text; special tokens are left out
  // when skip_special. Not always valid UTF-8 in pieces. Throws Error(data) for an id outside the vocabulary.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;
  // The same of tokens that stand behind others: no space is taken off their front.
  std::string decode_continued(std::span<const int32_t> ids, bool skip_special = false) const;

  // Error(model) with token, id and `rows` where one of the ids has no row in an embedding of so many: the
  // tokenizer is another model's, or has tokens added that the model was never given.
  void require_rows(std::span<const int32_t> ids, int64_t rows) const;

  int64_t vocab_size() const;  // largest id + 1
  int32_t bos_id() const;      // -1 where there is none
  int32_t eos_id() const;
  bool adds_bos() const;                     // whether the model's own tokenizer puts bos before a text
  std::string token_text(int32_t id) const;  // as it stands in the vocabulary ("<|im_end|>")
  const std::string& chat_template() const;  // "" where the model has none
  const std::string& sha256() const;  // of what defines the tokenizer (vocabulary, merges, patterns, flags)

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gorgon
