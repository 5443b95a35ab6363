#include "data/cache_block.h"

#include <algorithm>
#include <bit>
#include <charconv>

#include "data/file.h"
#include "kernels/error.h"

namespace gorgon {

namespace {

constexpr std::string_view kNotYet = "-";

// Everything but the mark of completeness.
std::string body_of(const CacheBlock& block) {
  const CacheLayout& layout = block.layout;
  std::string text(kCacheMark);
  const auto line = [&text](const std::string& key, const std::string& value) {
    text += key + " " + value + "\n";
  };
  line("bytes", std::to_string(block.file_bytes));
  line("type", std::string(name(layout.type)));
  line("width", std::to_string(layout.width));
  line("id", std::to_string(block.id_begin));
  line("hidden", std::to_string(block.hidden_begin));
  line("identity", std::to_string(layout.identity.size()));
  for (const auto& [key, value] : layout.identity) line(key, value);
  line("frame", block.frame_sha256);
  line("shards", std::to_string(layout.shards()));
  for (size_t i = 0; i < block.shard_sha256.size(); ++i) {
    const std::string& sum = block.shard_sha256[i];
    line(std::to_string(layout.shard_begin[i + 1]), sum.empty() ? std::string(kNotYet) : sum);
  }
  return text;
}

// Takes lines "key value" off a text.
class Lines {
 public:
  Lines(std::string_view text, const std::string& file) : text_(text), file_(file) {}

  std::pair<std::string, std::string> next() {
    const size_t end = text_.find('\n', at_);
    const size_t space = text_.find(' ', at_);
    if (end == std::string_view::npos || space >= end) wrong("a line `key value`", "none");
    std::pair<std::string, std::string> line(text_.substr(at_, space - at_),
                                             text_.substr(space + 1, end - space - 1));
    at_ = end + 1;
    return line;
  }
  std::string next(const std::string& key) {
    auto [found, value] = next();
    if (found != key) wrong(key, quote_value(found));
    return value;
  }
  int64_t number(const std::string& text, int64_t min, int64_t max) const {
    int64_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (result.ec != std::errc() || result.ptr != text.data() + text.size() || value < min || value > max) {
      wrong("an integer from " + std::to_string(min) + " to " + std::to_string(max), quote_value(text));
    }
    return value;
  }
  int64_t next_number(const std::string& key, int64_t min, int64_t max) {
    return number(next(key), min, max);
  }
  std::string sha256(const std::string& text) const {
    const bool digits = text.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (text.size() != 64 || !digits) wrong("a SHA-256 of 64 digits", quote_value(text));
    return text;
  }
  size_t position() const { return at_; }

  [[noreturn]] void wrong(const std::string& expected, const std::string& found) const {
    fail(ExitCode::data, {at_byte(file_, at_), "", expected, found, kCacheRemedy});
  }

 private:
  std::string_view text_;
  std::string file_;
  size_t at_ = kCacheMark.size();
};

constexpr int64_t kMaxBytes = int64_t{1} << 60;

void read_layout(Lines& lines, CacheBlock& block) {
  CacheLayout& layout = block.layout;
  block.file_bytes = lines.next_number("bytes", 0, kMaxBytes);
  const std::string type = lines.next("type");
  if (type != name(DType::f32) && type != name(DType::bf16)) lines.wrong("f32 or bf16", quote_value(type));
  layout.type = type == name(DType::f32) ? DType::f32 : DType::bf16;
  layout.width = lines.next_number("width", 1, 1 << 24);
  block.id_begin = lines.next_number("id", 0, block.file_bytes);
  block.hidden_begin = lines.next_number("hidden", 0, block.file_bytes);
  const int64_t keys = lines.next_number("identity", 0, 64);
  for (int64_t i = 0; i < keys; ++i) {
    if (const auto line = lines.next(); !layout.identity.insert(line).second) {
      lines.wrong("every key once", quote_value(line.first) + " twice");
    }
  }
  block.frame_sha256 = lines.sha256(lines.next("frame"));
  const int64_t shards = lines.next_number("shards", 0, kMaxShards);
  layout.shard_begin = {0};
  const int64_t most_rows = block.file_bytes / layout.row_bytes();
  for (int64_t i = 0; i < shards; ++i) {
    const auto [end, sum] = lines.next();
    layout.shard_begin.push_back(lines.number(end, layout.shard_begin.back(), most_rows));
    block.shard_sha256.push_back(sum == kNotYet ? "" : lines.sha256(sum));
  }
}

}  // namespace

int64_t cache_block_bytes(const CacheLayout& layout) {
  constexpr int64_t kLine = 20 + 1 + 64 + 1, kHead = 1024, kEnd = 128;
  int64_t bytes = kHead + kEnd + layout.shards() * kLine;
  for (const auto& [key, value] : layout.identity) bytes += std::ssize(key) + std::ssize(value) + 2;
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(bytes)));
}

std::string format_cache_block(const CacheBlock& block) {
  require(block.layout.shards() <= kMaxShards, "format_cache_block", "too many shards");
  std::string text = body_of(block);
  text += block.complete ? "complete " + sha256_of(text) + "\n" : "incomplete -\n";
  const auto size = static_cast<size_t>(cache_block_bytes(block.layout));
  require(text.size() <= size, "format_cache_block", "a block that is too small");
  text.resize(size, '\0');
  return text;
}

CacheBlock parse_cache_block(std::string_view bytes, const std::string& file) {
  if (!bytes.starts_with(kCacheMark)) {
    fail(ExitCode::data, {file, "", "a cache of gorgon",
                          "a file that starts with " + quote_value(bytes.substr(0, 16)), kCacheRemedy});
  }
  CacheBlock block;
  Lines lines(bytes, file);
  read_layout(lines, block);
  const size_t end = lines.position();
  const auto [mark, sum] = lines.next();
  block.complete = mark == "complete";
  if (block.complete && sum != sha256_of(bytes.substr(0, end))) {
    fail(ExitCode::data, {file, "first lines", "SHA-256 " + quote_value(sum), "another", kCacheRemedy});
  }
  const int64_t rows = block.layout.states(), behind = cache_block_bytes(block.layout);
  const bool in_order = block.id_begin >= behind && block.hidden_begin >= block.id_begin + 8 * rows &&
                        block.file_bytes - block.hidden_begin >= rows * block.layout.row_bytes();
  if (!in_order) lines.wrong("arrays that fit into the file", "others");
  return block;
}

}  // namespace gorgon
