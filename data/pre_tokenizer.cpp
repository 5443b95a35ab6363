#include "data/pre_tokenizer.h"

#include <algorithm>

namespace gorgon {
namespace {

using Words = PreTokenizer::Words;

struct Part {
  size_t begin, end;
  bool matched;
};

void parts_of(const Regex& regex, std::string_view text, bool invert, std::vector<Part>& parts) {
  parts.clear();
  RegexScan scan(regex, text);
  size_t done = 0;
  while (const auto match = scan.next()) {
    if (match->first > done) parts.push_back({done, match->first, invert});
    parts.push_back({match->first, match->second, !invert});
    done = match->second;
  }
  if (done < text.size()) parts.push_back({done, text.size(), invert});
}

// As SplitDelimiterBehavior of Hugging Face's tokenizers (normalizer.rs) has it.
void add_words(const std::vector<Part>& parts, SplitStep::Behaviour behaviour, size_t offset, Words& words) {
  const auto add = [&](const Part& part) { words.emplace_back(offset + part.begin, offset + part.end); };
  const auto extend = [&](const Part& part) { words.back().second = offset + part.end; };
  for (size_t i = 0; i < parts.size(); ++i) {
    const bool matched = parts[i].matched;
    switch (behaviour) {
      case SplitStep::Behaviour::isolated:
        add(parts[i]);
        break;
      case SplitStep::Behaviour::removed:
        if (!matched) add(parts[i]);
        break;
      case SplitStep::Behaviour::contiguous:
        i > 0 && parts[i - 1].matched == matched ? extend(parts[i]) : add(parts[i]);
        break;
      case SplitStep::Behaviour::with_previous:
        i > 0 && matched && !parts[i - 1].matched ? extend(parts[i]) : add(parts[i]);
        break;
      case SplitStep::Behaviour::with_next:
        i > 0 && !matched && parts[i - 1].matched ? extend(parts[i]) : add(parts[i]);
        break;
    }
  }
}

// A space before every word that does not begin with one.
void prefix_space(AlignedText& text, Words& words) {
  std::vector<size_t> places;
  for (auto& [begin, end] : words) {
    const bool missing = text.text()[begin] != ' ';
    if (missing) places.push_back(begin);
    begin += places.size() - (missing ? 1 : 0);
    end += places.size();
  }
  if (!places.empty()) text.insert(places, " ");
}

// The first step of its list (the loader sees to it): `words` is the whole text.
void metaspace(const SplitStep& step, AlignedText& text, Words& words) {
  const bool at_start = text.origin(0, 1).begin == 0;
  text.replace(" ", step.replacement);
  const bool wanted =
      step.scheme == SplitStep::Scheme::always || (step.scheme == SplitStep::Scheme::first && at_start);
  if (wanted && !text.text().starts_with(step.replacement)) text.insert({0}, step.replacement);
  words.clear();
  size_t begin = 0;
  while (step.split && begin < text.text().size()) {
    const size_t next = text.text().find(step.replacement, begin + 1);
    if (next == std::string_view::npos) break;
    words.emplace_back(begin, next);
    begin = next;
  }
  words.emplace_back(begin, text.text().size());
}

SplitStep isolate(std::string pattern) {
  return {SplitStep::Kind::regex, std::move(pattern), SplitStep::Behaviour::isolated, false, "", {}, true};
}

}  // namespace

const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

void normalise(AlignedText& text, const std::vector<NormalizeStep>& steps) {
  for (const NormalizeStep& step : steps) {
    if (text.text().empty()) return;
    if (step.kind == NormalizeStep::Kind::unicode) text.normalise(step.pattern);
    if (step.kind == NormalizeStep::Kind::prepend) text.insert({0}, step.content);
    if (step.kind == NormalizeStep::Kind::replace) text.replace(step.pattern, step.content);
  }
}

PreTokenizer::PreTokenizer(std::vector<SplitStep> steps, const std::string& file) {
  for (SplitStep& step : steps) {
    std::optional<Regex> regex;
    if (step.kind == SplitStep::Kind::regex) regex.emplace(step.pattern, file);
    steps_.push_back({std::move(step), std::move(regex)});
  }
}

void PreTokenizer::run(AlignedText& text, Words& words) const {
  words.clear();
  if (text.text().empty()) return;
  words.emplace_back(0, text.text().size());
  Words next;
  std::vector<Part> parts;
  for (const Step& step : steps_) {
    if (step.spec.kind == SplitStep::Kind::prefix_space) prefix_space(text, words);
    if (step.spec.kind == SplitStep::Kind::metaspace) metaspace(step.spec, text, words);
    if (step.spec.kind != SplitStep::Kind::regex) continue;
    next.clear();
    for (const auto& [begin, end] : words) {
      parts_of(*step.regex, text.text().substr(begin, end - begin), step.spec.invert, parts);
      add_words(parts, step.spec.behaviour, begin, next);
    }
    words.swap(next);
  }
}

std::optional<std::vector<SplitStep>> pre_tokenizer_of_gguf(const std::string& name) {
  const auto is = [&name](std::initializer_list<const char*> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (is({"gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jais"})) return std::vector{isolate(kGpt2Pattern)};
  if (is({"smollm", "starcoder", "refact", "command-r", "codeshell"})) {
    return std::vector{isolate(R"(\p{N})"), isolate(kGpt2Pattern)};
  }
  if (is({"llama-bpe", "llama3", "llama-v3", "falcon3", "smaug-bpe", "dbrx"})) {
    return std::vector{isolate(
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")};
  }
  if (is({"qwen2", "stablelm2", "deepseek-r1-qwen"})) {
    return std::vector{isolate(
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)")};
  }
  if (is({"default"})) {
    return std::vector{isolate(R"([\p{P}\$\+<=>\^~\|]+)"),
                       isolate(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))"),
                       isolate(R"(\p{N}+)"), isolate(R"([0-9][0-9][0-9])")};
  }
  return std::nullopt;
}

std::string known_pre_tokenizers() {
  return "smollm, gpt-2, llama-bpe, qwen2 or default";
}

}  // namespace gorgon
