#include "data/gguf.h"

#include <random>

#include <gtest/gtest.h>

#include "data/file.h"
#include "kernels/dequantise.h"
#include "tests/data/container_bytes.h"
#include "tests/data/expect_error.h"

namespace gorgon {
namespace {

constexpr uint32_t kF32 = 0, kQ8_0 = 8;

GgufFile small_file() {
  GgufFile file;
  file.keys = {
      gguf_u32("n", 7),
      gguf_key("negative", kGgufI32, raw(int32_t{-3})),
      gguf_key("half", kGgufF32, raw(0.5f)),
      gguf_key("double", kGgufF64, raw(0.25)),
      gguf_key("flag", kGgufBool, raw(uint8_t{1})),
      gguf_string("text", "hello"),
      gguf_key("huge", kGgufU64, raw(~uint64_t{0})),
      gguf_key("words", kGgufArray, raw(kGgufString) + raw(uint64_t{2}) + gguf_text("one") + gguf_text("")),
      gguf_key("bytes", kGgufArray, raw(kGgufU8) + raw(uint64_t{3}) + "abc"),
      gguf_key("floats", kGgufArray, raw(kGgufF32) + raw(uint64_t{2}) + raw(1.5f) + raw(-2.0f))};
  file.tensors = {gguf_tensor("b", {2, 3}, kF32, 32), gguf_tensor("a", {32}, kQ8_0, 64)};
  file.data = std::string(32 + 24 + 8 + 34, 'x');
  return file;
}

TEST(Gguf, ReadsKeysAndTensors) {
  for (const uint32_t version : {2u, 3u}) {
    GgufFile source = small_file();
    source.version = version;
    const auto bytes = exact_bytes(source.bytes());
    const Gguf gguf = parse_gguf(bytes, "f.gguf");
    EXPECT_EQ(gguf.integer("n", 0, 7), 7);
    EXPECT_EQ(gguf.integer("negative", -3, 0), -3);
    EXPECT_EQ(gguf.number("half"), 0.5);
    EXPECT_EQ(gguf.number("double"), 0.25);
    EXPECT_EQ(gguf.number("n"), 7.0);
    EXPECT_TRUE(gguf.boolean("flag", false));
    EXPECT_TRUE(gguf.boolean("absent", true));
    EXPECT_EQ(gguf.string("text"), "hello");
    EXPECT_EQ(gguf.strings("words"), (std::vector<std::string>{"one", ""}));
    EXPECT_EQ(gguf.integers("bytes"), (std::vector<int64_t>{97, 98, 99}));
    EXPECT_EQ(gguf.numbers("floats"), (std::vector<float>{1.5f, -2.0f}));
    EXPECT_EQ(gguf.tensors.at("b").shape, (std::vector<int64_t>{3, 2}));
    EXPECT_EQ(gguf.tensors.at("a").type, DType::q8_0);
    EXPECT_EQ(gguf.tensors.at("a").bytes.size(), 34u);
    EXPECT_EQ(gguf.tensors.at("a").bytes.data() + 34, bytes.data() + bytes.size());
  }
}

TEST(Gguf, TypedAccessNamesFileKeyAndByte) {
  const auto bytes = exact_bytes(small_file().bytes());
  const Gguf gguf = parse_gguf(bytes, "f.gguf");
  const auto expect = [](const std::function<void()>& action, std::vector<std::string> parts) {
    parts.push_back("f.gguf");
    expect_error(action, ExitCode::model, parts);
  };
  expect([&] { gguf.integer("absent", 0, 1); }, {"absent", "no such key"});
  expect([&] { gguf.integer("n", 0, 6); }, {"f.gguf@", "n", "from 0 to 6", "7"});
  expect([&] { gguf.integer("negative", 0, 6); }, {"negative", "-3"});
  expect([&] { gguf.integer("huge", 0, INT64_MAX); }, {"huge", "18446744073709551615"});
  expect([&] { gguf.integer("half", 0, 1); }, {"half", "an integer", "0.5"});
  expect([&] { gguf.integer("flag", 0, 1); }, {"flag", "an integer", "true"});
  expect([&] { gguf.number("text"); }, {"text", "a number", "'hello'"});
  expect([&] { gguf.string("n"); }, {"n", "a string", "7"});
  expect([&] { gguf.boolean("n", true); }, {"n", "a boolean", "7"});
  expect([&] { gguf.strings("bytes"); }, {"bytes", "strings", "an array of 3"});
  expect([&] { gguf.integers("floats"); }, {"floats", "integers"});
  expect([&] { gguf.numbers("words"); }, {"words", "floating-point"});
  expect([&] { gguf.strings("text"); }, {"text", "array", "'hello'"});
}

struct Broken {
  std::string what;
  GgufFile file;
  std::vector<std::string> parts;
};

// A file of one key or one tensor.
GgufFile with_key(const std::string& key) {
  GgufFile file;
  file.keys = {key};
  return file;
}
GgufFile with_tensors(const std::vector<std::string>& tensors, size_t data_bytes = 64) {
  GgufFile file;
  file.tensors = tensors;
  file.data = std::string(data_bytes, 'x');
  return file;
}
std::string array_key(uint32_t type, uint64_t count, const std::string& elements) {
  return gguf_key("list", kGgufArray, raw(type) + raw(count) + elements);
}

std::vector<Broken> broken_headers() {
  std::vector<Broken> list;
  const auto add = [&](const char* what, const std::vector<std::string>& parts) -> GgufFile& {
    list.push_back({what, GgufFile{}, parts});
    return list.back().file;
  };
  add("magic", {"f@0", "magic", "'GGUF'", "'GGML'"}).magic = "GGML";
  add("version 1", {"f@4", "version", "2 or 3", "1"}).version = 1;
  add("version 4", {"f@4", "version", "4"}).version = 4;
  add("big-endian", {"f@4", "big-endian"}).version = 3u << 24;
  add("tensor count", {"f@8", "tensor_count", "remaining", "9999"}).tensor_count = 9999;
  add("tensor count that wraps", {"f@8", "18446744073709551615"}).tensor_count = ~uint64_t{0};
  add("key count", {"f@16", "metadata_kv_count", "remaining 8 bytes", "1"}).key_count = 1;
  add("key count that wraps", {"f@16", "9223372036854775808"}).key_count = uint64_t{1} << 63;
  GgufFile& missing = add("keys that are missing", {"f@", "key 1"});
  missing = with_key(gguf_string("k", std::string(30, 'x')));
  missing.key_count = 2;
  return list;
}

std::vector<Broken> broken_keys() {
  const std::string long_text = raw(uint64_t{1} << 40);
  return {
      {"empty key", with_key(gguf_u32("", 1)), {"f@24", "key 0", "a name"}},
      {"key too long", with_key(gguf_u32(std::string(65536, 'k'), 1)), {"f@24", "key 0", "65535", "65536"}},
      {"key length that wraps",
       with_key(raw(~uint64_t{0}) + "kkkkkkkkkkkkkkkk"),
       {"f@24", "18446744073709551615"}},
      {"unknown value type", with_key(gguf_key("k", 13, "xxxxxxxx")), {"f@33", "'k'", "0 to 12", "13"}},
      {"boolean of 2", with_key(gguf_key("k", kGgufBool, "\2")), {"'k'", "boolean", "2"}},
      {"string too long",
       with_key(gguf_key("k", kGgufString, long_text + "x")),
       {"f@37", "'k'", "string", "1099511627776"}},
      {"array of arrays",
       with_key(array_key(kGgufArray, 1, std::string(16, 'x'))),
       {"'list'", "an array of arrays"}},
      {"array of nothing", with_key(array_key(99, 1, std::string(16, 'x'))), {"'list'", "type 99"}},
      {"array too long",
       with_key(array_key(kGgufU64, 1000, std::string(16, 'x'))),
       {"'list'", "remaining", "1000 elements"}},
      {"array that wraps",
       with_key(array_key(kGgufU64, uint64_t{1} << 61, std::string(16, 'x'))),
       {"2305843009213693952"}},
      {"array of long strings",
       with_key(array_key(kGgufString, 1, long_text)),
       {"'list'", "string", "1099511627776"}},
      {"array of cut strings",
       with_key(array_key(kGgufString, 2, gguf_text("ab") + raw(uint64_t{50}))),
       {"'list'", "50"}},
      {"alignment 0",
       with_key(gguf_u32("general.alignment", 0)),
       {"f@", "general.alignment", "power of two", "0"}},
      {"alignment 48", with_key(gguf_u32("general.alignment", 48)), {"general.alignment", "48"}},
      {"alignment 2^31",
       with_key(gguf_u32("general.alignment", 1u << 31)),
       {"general.alignment", "2147483648"}},
      {"alignment as text",
       with_key(gguf_string("general.alignment", "32")),
       {"general.alignment", "another type"}},
      {"alignment negative",
       with_key(gguf_key("general.alignment", kGgufI32, raw(int32_t{-32}))),
       {"another type"}},
  };
}

std::vector<Broken> broken_tensors() {
  constexpr int64_t k62 = int64_t{1} << 62;
  return {
      {"empty name", with_tensors({gguf_tensor("", {1}, kF32, 0)}), {"f@24", "tensor 0", "a name"}},
      {"no dimension", with_tensors({gguf_tensor("w", {}, kF32, 0)}), {"'w'", "1 to 4 dimensions", "0"}},
      {"five dimensions", with_tensors({gguf_tensor("w", {1, 1, 1, 1, 1}, kF32, 0)}), {"'w'", "1 to 4", "5"}},
      {"2^32 - 1 dimensions",
       with_tensors({gguf_text("w") + raw(~uint32_t{0}) + std::string(64, 'x')}),
       {"4294967295"}},
      {"negative", with_tensors({gguf_tensor("w", {-1}, kF32, 0)}), {"'w'", "dimensions from 1", "[-1]"}},
      {"zero", with_tensors({gguf_tensor("w", {0}, kF32, 0)}), {"'w'", "[0]"}},
      {"product",
       with_tensors({gguf_tensor("w", {k62, 4}, kF32, 0)}),
       {"'w'", "63 bits", "4611686018427387904, 4"}},
      {"product in bytes", with_tensors({gguf_tensor("w", {k62}, kF32, 0)}), {"'w'", "63 bits"}},
      {"unknown type", with_tensors({gguf_tensor("w", {32}, 10, 0)}), {"'w'", "f32 f16 q4_0", "type 10"}},
      {"huge type", with_tensors({gguf_tensor("w", {32}, 0x80000000u, 0)}), {"type 2147483648"}},
      {"partial block",
       with_tensors({gguf_tensor("w", {33}, kQ8_0, 0)}),
       {"'w'", "blocks of 32", "rows of 33"}},
      {"misaligned", with_tensors({gguf_tensor("w", {1}, kF32, 16)}), {"'w'", "multiple of 32", "16"}},
      {"past the end",
       with_tensors({gguf_tensor("w", {17}, kF32, 0)}),
       {"'w'", "68 bytes at offset 0", "64 bytes", "truncated"}},
      {"offset past the end", with_tensors({gguf_tensor("w", {1}, kF32, 128)}), {"'w'", "offset 128"}},
      {"offset that wraps",
       with_tensors({gguf_tensor("w", {8}, kF32, ~uint64_t{0} - 31)}),
       {"'w'", "18446744073709551584"}},
      {"overlap",
       with_tensors({gguf_tensor("v", {9}, kF32, 0), gguf_tensor("w", {1}, kF32, 32)}),
       {"'w'", "behind 'v', from 36", "32 (overlap)"}},
      {"the same place",
       with_tensors({gguf_tensor("v", {1}, kF32, 0), gguf_tensor("w", {1}, kF32, 0)}),
       {"(overlap)"}},
      {"twice",
       with_tensors({gguf_tensor("w", {1}, kF32, 0), gguf_tensor("w", {1}, kF32, 32)}),
       {"'w'", "duplicate"}},
  };
}

TEST(Gguf, BrokenFilesAreNamedErrors) {
  auto duplicate = with_key(gguf_u32("k", 1));
  duplicate.keys.push_back(gguf_u32("k", 2));
  for (const auto& list : {broken_headers(), broken_keys(), broken_tensors(),
                           std::vector<Broken>{{"duplicate key", duplicate, {"f@41", "'k'", "duplicate"}}}}) {
    for (const Broken& broken : list) {
      SCOPED_TRACE(broken.what);
      const auto bytes = exact_bytes(broken.file.bytes());
      auto parts = broken.parts;
      parts.push_back("f@");
      expect_error([&] { parse_gguf(bytes, "f"); }, ExitCode::model, parts);
    }
  }
}

TEST(Gguf, PaddingBeyondTheFileIsAnError) {
  GgufFile file = with_tensors({gguf_tensor("w", {1}, kF32, 0)}, 0);
  file.alignment = 1;  // no padding is written
  file.keys = {gguf_u32("general.alignment", 1 << 20)};
  const auto bytes = exact_bytes(file.bytes());
  expect_error([&] { parse_gguf(bytes, "f"); }, ExitCode::model, {"padding", "truncated"});
}

TEST(Gguf, OtherAlignmentsAreRead) {
  GgufFile file = with_tensors({gguf_tensor("v", {1}, kF32, 0), gguf_tensor("w", {1}, kF32, 64)}, 68);
  file.alignment = 64;
  file.keys = {gguf_u32("general.alignment", 64)};
  const auto bytes = exact_bytes(file.bytes());
  EXPECT_EQ(parse_gguf(bytes, "f").tensors.at("w").bytes.data() + 4, bytes.data() + bytes.size());
}

size_t read_all(const Gguf& gguf) {
  size_t sum = gguf.metadata.size();
  for (const auto& [name, entry] : gguf.tensors) {
    for (const std::byte b : entry.bytes) sum += std::to_integer<size_t>(b);
  }
  for (const auto& [key, value] : gguf.metadata) {
    const auto* array = std::get_if<GgufArray>(&value.value);
    if (array == nullptr) continue;
    if (array->type == kGgufString) sum += gguf.strings(key).size();
    if (array->type <= kGgufI32) sum += gguf.integers(key).size();
  }
  return sum;
}

TEST(Gguf, EveryTruncationIsAnError) {
  const std::string whole = read_text(GORGON_TEST_DATA "/containers/types.gguf", ExitCode::model);
  const auto all = exact_bytes(whole);
  const Gguf gguf = parse_gguf(all, "f");
  const std::byte* end = nullptr;  // behind it there is only padding
  for (const auto& [name, entry] : gguf.tensors) end = std::max(end, entry.bytes.data() + entry.bytes.size());
  const auto needed = static_cast<size_t>(end - all.data());
  for (size_t n = 0; n < needed; n += n < 2048 ? 1 : 37) {
    const auto bytes = exact_bytes(std::string_view(whole).substr(0, n));
    expect_error([&] { parse_gguf(bytes, "f"); }, ExitCode::model, {"f@"});
  }
  const std::string small = small_file().bytes();
  for (size_t n = 0; n < small.size(); ++n) {
    const auto bytes = exact_bytes(std::string_view(small).substr(0, n));
    expect_error([&] { parse_gguf(bytes, "f"); }, ExitCode::model, {"f@"});
  }
}

TEST(Gguf, RandomFlipsNeverCrash) {
  const std::string whole = small_file().bytes();
  std::mt19937 random(2);
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    auto bytes = exact_bytes(whole);
    for (unsigned flips = 1 + random() % 3; flips > 0; --flips) {
      bytes[random() % bytes.size()] ^= static_cast<std::byte>(1u << (random() % 8));
    }
    try {
      accepted += read_all(parse_gguf(bytes, "f")) > 0 ? 1 : 0;
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ExitCode::model) << error.what();
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, 20000);
}

// Values of the gguf package, to the bit: both sides round each operation of the same formula to f32.
TEST(Gguf, EveryWeightTypeGivesTheReferenceValues) {
  const MappedFile stored(GORGON_TEST_DATA "/containers/types.gguf", ExitCode::model);
  const MappedFile values(GORGON_TEST_DATA "/containers/types.safetensors", ExitCode::model);
  const Gguf gguf = parse_gguf(stored.bytes(), "types.gguf");
  const Safetensors expected = parse_safetensors(values.bytes(), "types.safetensors");
  const Stream stream;
  ASSERT_EQ(gguf.tensors.size(), 11u);
  for (const auto& [name, entry] : gguf.tensors) {
    SCOPED_TRACE(name);
    EXPECT_EQ(gorgon::name(entry.type), name);
    Tensor out(DType::f32, {3, 512});
    dequantise(BasicView<const std::byte>{entry.bytes.data(), entry.type, {3, 512}, {}, 0}, out.view(),
               stream);
    const std::span<const std::byte> want = expected.tensors.at(name).bytes;
    ASSERT_EQ(want.size(), 3u * 512 * 4);
    EXPECT_EQ(std::memcmp(out.data(), want.data(), want.size()), 0);
  }
}

}  // namespace
}  // namespace gorgon
