#include "data/tokenizer.h"

#include <algorithm>
#include <array>
#include <span>

#include "data/byte_alphabet.h"
#include "data/file.h"
#include "data/gguf.h"
#include "data/tokenizer_spec.h"
#include "data/unicode.h"
#include "data/word_encoder.h"
#include "kernels/error.h"

namespace gorgon {
namespace {

void require_text(std::string_view text) {
  constexpr size_t kLongest = (size_t{1} << 31) - 1;  // lengths of words are int32
  if (text.size() > kLongest) {
    fail(ExitCode::data, {"text", "", "at most " + std::to_string(kLongest) + " bytes",
                          std::to_string(text.size()), "cut the document"});
  }
  const auto place = find_invalid_utf8(text);
  if (!place) return;
  fail(ExitCode::data, {at_byte("text", *place), "", "valid UTF-8", quote_value(text.substr(*place, 1)),
                        "store the text as UTF-8"});
}

// Added tokens of one kind; those found behind the normaliser are normalised themselves.
TokenSplitter splitter_of(const TokenizerSpec& spec, bool normalized) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : spec.added) {
    if (token.normalized != normalized) continue;
    if (normalized) {
      AlignedText text(token.text, 0);
      normalise(text, spec.normalizer);
      token.text = std::string(text.text());
    }
    tokens.push_back(std::move(token));
  }
  return tokens.empty() ? TokenSplitter() : TokenSplitter(std::move(tokens));
}

std::string replace_all(std::string text, std::string_view pattern, std::string_view content) {
  for (size_t at = 0; (at = text.find(pattern, at)) != std::string::npos; at += content.size()) {
    text.replace(at, pattern.size(), content);
  }
  return text;
}

// What a token of the merged vocabulary (not an added one) stands for.
std::string decoded(const TokenizerSpec& spec, const std::string& token) {
  if (spec.byte_level) return bytes_of_alphabet(token).value_or(token);
  const int byte = spec.byte_fallback ? byte_of_token(token) : -1;
  if (byte >= 0) return std::string(1, static_cast<char>(byte));
  return replace_all(token, kSpaceMark, " ");
}

std::string fingerprint(const TokenizerSpec& spec) {
  Sha256 sum;
  const auto number = [&sum](int64_t value) { sum.update(std::to_string(value) + ","); };
  const auto text = [&](const std::string& value) {
    number(static_cast<int64_t>(value.size()));
    sum.update(value);
  };
  for (const std::string& token : spec.tokens) text(token);
  for (const BpeMerge& merge : spec.merges) {
    for (const int32_t value : {merge.left, merge.right, merge.result, merge.rank}) number(value);
  }
  for (const AddedToken& token : spec.added) {
    text(token.text);
    for (const int64_t value : {token.id, int32_t{token.special}, int32_t{token.normalized},
                                int32_t{token.lstrip}, int32_t{token.rstrip}, int32_t{token.single_word}}) {
      number(value);
    }
  }
  for (const NormalizeStep& step : spec.normalizer) {
    number(static_cast<int64_t>(step.kind));
    text(step.pattern);
    text(step.content);
  }
  for (const SplitStep& step : spec.pre_tokenizer) {
    number(static_cast<int64_t>(step.kind));
    text(step.pattern);
    number(static_cast<int64_t>(step.behaviour) * 16 + static_cast<int64_t>(step.scheme) * 4 +
           step.invert * 2 + step.split);
    text(step.replacement);
  }
  for (const int64_t value : {int32_t{spec.byte_level}, int32_t{spec.ignore_merges},
                              int32_t{spec.byte_fallback}, int32_t{spec.fuse_unk}, spec.unk_id,
                              int32_t{spec.strip_space}, spec.bos_id, spec.eos_id, int32_t{spec.adds_bos}}) {
    number(value);
  }
  return sum.hex();
}

}  // namespace

struct Tokenizer::Impl {
  TokenizerSpec spec;  // without merges, which the encoder has
  TokenSplitter raw_tokens, normalized_tokens;
  PreTokenizer pre_tokenizer;
  WordEncoder words;
  std::vector<std::string> bytes;  // of each id
  std::vector<bool> special;       // of each id
  std::string sha256;

  explicit Impl(TokenizerSpec from)
      : spec(std::move(from)),
        raw_tokens(splitter_of(spec, false)),
        normalized_tokens(splitter_of(spec, true)),
        pre_tokenizer(spec.pre_tokenizer, spec.file),
        words(spec),
        special(spec.tokens.size(), false),
        sha256(fingerprint(spec)) {
    for (const std::string& token : spec.tokens) bytes.push_back(decoded(spec, token));
    for (const AddedToken& token : spec.added) {
      bytes[static_cast<size_t>(token.id)] = token.text;
      special[static_cast<size_t>(token.id)] = token.special;
    }
    spec.merges = {};
  }

  // Calls emit(id, origin of its bytes) for every token from left to right. `origin` is a function, since
  // most callers want no spans.
  template <typename Emit>
  void encode(std::string_view text, const Emit& emit) const;
};

template <typename Emit>
void Tokenizer::Impl::encode(std::string_view text, const Emit& emit) const {
  require_text(text);
  WordEncoder::Scratch scratch;
  PreTokenizer::Words ranges;
  const auto encode_section = [&](AlignedText& section) {
    pre_tokenizer.run(section, ranges);
    for (const auto& [begin, end] : ranges) {
      size_t at = begin;
      for (const BpeSymbol& symbol : words.encode(section.text().substr(begin, end - begin), scratch)) {
        const size_t next = at + static_cast<size_t>(symbol.bytes);
        if (symbol.id >= 0) emit(symbol.id, section, at, next);
        at = next;
      }
    }
  };
  raw_tokens.run(text, [&](size_t begin, size_t end, int32_t id) {
    AlignedText section(text.substr(begin, end - begin), static_cast<int64_t>(begin));
    if (id >= 0) return emit(id, section, 0, end - begin);
    normalise(section, spec.normalizer);
    if (normalized_tokens.empty()) return encode_section(section);
    normalized_tokens.run(section.text(), [&](size_t from, size_t to, int32_t token) {
      if (token >= 0) return emit(token, section, from, to);
      AlignedText part = section.part(from, to);
      encode_section(part);
    });
  });
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& model_path) {
  if (std::filesystem::is_directory(model_path)) return from_directory(model_path);
  const MappedFile file(model_path, ExitCode::model);
  return from_gguf(parse_gguf(file.bytes(), model_path.string()));
}

Tokenizer Tokenizer::from_gguf(const Gguf& gguf) {
  return Tokenizer(std::make_unique<Impl>(tokenizer_spec_of_gguf(gguf)));
}

Tokenizer Tokenizer::from_directory(const std::filesystem::path& directory) {
  return Tokenizer(std::make_unique<Impl>(tokenizer_spec_of_directory(directory)));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4);
  impl_->encode(text, [&ids](int32_t id, const AlignedText&, size_t, size_t) { ids.push_back(id); });
  return ids;
}

std::vector<TokenSpan> Tokenizer::encode_with_spans(std::string_view text) const {
  std::vector<TokenSpan> tokens;
  tokens.reserve(text.size() / 4);
  impl_->encode(text, [&tokens](int32_t id, const AlignedText& section, size_t begin, size_t end) {
    const ByteRange range = section.origin(begin, end);
    tokens.push_back({id, range.begin, range.end});
  });
  return tokens;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string text = decode_continued(ids, skip_special);
  if (impl_->spec.strip_space && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::string Tokenizer::decode_continued(std::span<const int32_t> ids, bool skip_special) const {
  std::string text;
  for (const int32_t id : ids) {
    const auto index = static_cast<size_t>(id);
    if (id < 0 || index >= impl_->bytes.size()) {
      fail(ExitCode::data, {impl_->spec.file, "token id", "0 to " + std::to_string(vocab_size() - 1),
                            std::to_string(id), "prepare the data with this model's tokenizer"});
    }
    if (!skip_special || !impl_->special[index]) text += impl_->bytes[index];
  }
  return text;
}

void Tokenizer::require_rows(std::span<const int32_t> ids, int64_t rows) const {
  const auto beyond = std::find_if(ids.begin(), ids.end(), [rows](int32_t id) { return id >= rows; });
  if (beyond == ids.end()) return;
  fail(ExitCode::model,
       {impl_->spec.file, "token " + quote_value(token_text(*beyond)),
        "an id below the " + std::to_string(rows) + " rows of the model's embedding",
        "id " + std::to_string(*beyond), "use the tokenizer files that the model came with"});
}

int64_t Tokenizer::vocab_size() const {
  return static_cast<int64_t>(impl_->spec.tokens.size());
}
int32_t Tokenizer::bos_id() const {
  return impl_->spec.bos_id;
}
int32_t Tokenizer::eos_id() const {
  return impl_->spec.eos_id;
}
bool Tokenizer::adds_bos() const {
  return impl_->spec.adds_bos;
}

std::string Tokenizer::token_text(int32_t id) const {
  const bool known = id >= 0 && id < vocab_size();
  return known ? impl_->spec.tokens[static_cast<size_t>(id)] : "";
}

const std::string& Tokenizer::chat_template() const {
  return impl_->spec.chat_template;
}
const std::string& Tokenizer::sha256() const {
  return impl_->sha256;
}

}  // namespace gorgon
