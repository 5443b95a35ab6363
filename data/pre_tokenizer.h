#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/aligned_text.h"
#include "data/regex.h"

namespace gorgon {

// One step of what Hugging Face's tokenizers call the normalizer.
struct NormalizeStep {
  enum class Kind { unicode, prepend, replace };
  Kind kind;
  std::string pattern;  // unicode: NFC, NFD, NFKC or NFKD; replace: the text that goes
  std::string content;  // prepend, replace: the text that comes
};

// One step of the pre-tokenizer: cuts every piece into words, none of which is merged with another.
struct SplitStep {
  enum class Kind {
    regex,         // pattern, behaviour, invert
    prefix_space,  // a space before every piece that has none
    metaspace,     // spaces become `replacement`; one goes before by `scheme`; words begin with it if `split`
  };
  // What becomes of the matches of a pattern.
  enum class Behaviour { isolated, removed, with_previous, with_next, contiguous };
  enum class Scheme { always, first, never };  // first: at the start of the whole text only

  Kind kind;
  std::string pattern;
  Behaviour behaviour = Behaviour::isolated;
  bool invert = false;  // the text between the matches is what matched
  std::string replacement;
  Scheme scheme = Scheme::always;
  bool split = true;
};

void normalise(AlignedText& text, const std::vector<NormalizeStep>& steps);

// Steps with their patterns compiled. Const and usable from several threads.
class PreTokenizer {
 public:
  using Words = std::vector<std::pair<size_t, size_t>>;  // [begin, end) in bytes, ascending

  PreTokenizer() = default;
  PreTokenizer(std::vector<SplitStep> steps, const std::string& file);

  // The words of a text, which may be edited (spaces put in or replaced).
  void run(AlignedText& text, Words& words) const;

 private:
  struct Step {
    SplitStep spec;
    std::optional<Regex> regex;
  };
  std::vector<Step> steps_;
};

// GPT-2's pattern (openai/gpt-2, encoder.py), which ByteLevel applies too.
extern const char* const kGpt2Pattern;

// The steps that go with GGUF's tokenizer.ggml.pre, as llama.cpp's llama-vocab.cpp has them; nothing where
// the name is unknown. known_pre_tokenizers() lists the names.
std::optional<std::vector<SplitStep>> pre_tokenizer_of_gguf(const std::string& name);
std::string known_pre_tokenizers();

}  // namespace gorgon
