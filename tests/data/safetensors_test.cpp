#include "data/safetensors.h"

#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "tests/data/container_bytes.h"
#include "tests/data/expect_error.h"
#include "tests/data/temporary_directory.h"

namespace gorgon {
namespace {

std::span<const std::byte> bytes_of_text(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

const std::string kValid = safetensors_file(
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
    R"("empty":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[8,8]},)"
    R"("scalar":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}})",
    "0123456789");

TEST(Safetensors, ReadsTensorsMetadataAndEmptyTensors) {
  const auto bytes = exact_bytes(kValid);
  const Safetensors file = parse_safetensors(bytes, "f.safetensors");
  ASSERT_EQ(file.tensors.size(), 3u);
  EXPECT_EQ(file.metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  const TensorEntry& a = file.tensors.at("a");
  EXPECT_EQ(a.type, DType::f32);
  EXPECT_EQ(a.shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(std::memcmp(a.bytes.data(), "01234567", 8), 0);
  EXPECT_TRUE(file.tensors.at("empty").bytes.empty());
  EXPECT_EQ(file.tensors.at("scalar").bytes.size(), 2u);
  EXPECT_TRUE(parse_safetensors(exact_bytes(safetensors_file("{}", "")), "f").tensors.empty());
}

TEST(Safetensors, WritesWhatItReads) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out.safetensors";
  const std::vector<SafetensorsOutput> tensors = {
      {"z", DType::i32, {2}, [] { return bytes_of_text("abcdefgh"); }},
      {"none", DType::f32, {3, 0}, [] { return bytes_of_text(""); }},
      {"a", DType::u8, {1, 3}, [] { return bytes_of_text("xyz"); }},
  };
  write_safetensors(path, tensors, {{"k", "v"}});
  const MappedFile mapped(path, ExitCode::model);
  uint64_t header = 0;
  std::memcpy(&header, mapped.bytes().data(), sizeof header);
  EXPECT_EQ(header % 8, 0u);
  const Safetensors back = parse_safetensors(mapped.bytes(), path.string());
  EXPECT_EQ(back.metadata.at("k"), "v");
  ASSERT_EQ(back.tensors.size(), 3u);
  for (const SafetensorsOutput& tensor : tensors) {
    const TensorEntry& entry = back.tensors.at(tensor.name);
    EXPECT_EQ(entry.type, tensor.type);
    EXPECT_EQ(entry.shape, tensor.shape);
    ASSERT_EQ(entry.bytes.size(), tensor.bytes().size());
    EXPECT_TRUE(std::equal(entry.bytes.begin(), entry.bytes.end(), tensor.bytes().begin()));
  }
  EXPECT_LT(back.tensors.at("z").bytes.data(), back.tensors.at("a").bytes.data()) << "the order given";
}

TEST(Safetensors, TensorOfAnotherSizeLeavesNoFile) {
  const TemporaryDirectory directory;
  const auto path = directory.path() / "out.safetensors";
  const std::vector<SafetensorsOutput> wrong = {{"a", DType::f32, {2}, [] { return bytes_of_text("abcd"); }}};
  expect_error([&] { write_safetensors(path, wrong, {}); }, ExitCode::internal, {"write_safetensors"});
  const std::vector<SafetensorsOutput> twice(2, {"a", DType::u8, {0}, [] { return bytes_of_text(""); }});
  expect_error([&] { write_safetensors(path, twice, {}); }, ExitCode::internal, {"two tensors of one name"});
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

struct Broken {
  std::string what;
  std::string bytes;
  std::vector<std::string> parts;
};

std::string tensor(const std::string& name, const std::string& fields) {
  return "{\"" + name + "\":" + fields + "}";
}
std::string field_file(const std::string& dtype, const std::string& shape, const std::string& offsets,
                       size_t data_bytes) {
  return safetensors_file(
      tensor("w", R"({"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}"),
      std::string(data_bytes, 'x'));
}

std::vector<Broken> broken_headers() {
  std::string deep = R"({"a":)" + std::string(50, '[');
  return {
      {"nothing", "", {"f@0", "header length", "8 bytes", "0"}},
      {"seven bytes", "1234567", {"f@0", "8 bytes", "7"}},
      {"header beyond file", raw(uint64_t{3}) + "{}", {"f@0", "header length", "at most 2", "of 10", "3"}},
      {"header length that wraps", raw(~uint64_t{0}) + "{}", {"18446744073709551615"}},
      {"header of 2^63", raw(uint64_t{1} << 63) + "{}", {"9223372036854775808"}},
      {"empty header", safetensors_file("", ""), {"f@8", "valid JSON"}},
      {"no JSON", safetensors_file("hello", ""), {"f@8", "valid JSON"}},
      {"no UTF-8", safetensors_file("{\"\xc3\x28\":1}", ""), {"f@11", "valid JSON"}},
      {"too deep", safetensors_file(deep, ""), {"f@", "at most 8 levels"}},
      {"an array", safetensors_file("[]", ""), {"f@8", "an object", "array"}},
      {"NUL behind", safetensors_file(std::string("{}\0x", 4), ""), {"f@10", "NUL"}},
      {"twice",
       safetensors_file(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":1})", "x"),
       {"'a'", "duplicate"}},
      {"metadata number",
       safetensors_file(R"({"__metadata__":{"k":1}})", ""),
       {"__metadata__", "'k'", "string", "number"}},
      {"metadata text", safetensors_file(R"({"__metadata__":"x"})", ""), {"__metadata__", "object"}},
      {"trailing", safetensors_file("{}", "x"), {"0 bytes of tensors", "1 (trailing bytes)"}},
  };
}

std::vector<Broken> broken_tensors() {
  return {
      {"no object", safetensors_file(tensor("w", "3"), ""), {"'w'", "object", "number"}},
      {"no dtype",
       safetensors_file(tensor("w", R"({"shape":[1],"data_offsets":[0,1]})"), "x"),
       {"'w'", "dtype", "none"}},
      {"unknown dtype", field_file(R"("F7")", "[1]", "[0,1]", 1), {"'w'", "F32 F16 BF16", "'F7'"}},
      {"numeric dtype", field_file("5", "[1]", "[0,1]", 1), {"'w'", "dtype", "number"}},
      {"no shape",
       safetensors_file(tensor("w", R"({"dtype":"U8","data_offsets":[0,1]})"), "x"),
       {"'w'", "shape", "none"}},
      {"negative", field_file(R"("U8")", "[-1]", "[0,1]", 1), {"'w'", "shape", "-1"}},
      {"fraction", field_file(R"("U8")", "[1.5]", "[0,1]", 1), {"'w'", "shape", "1.5"}},
      {"above 2^63",
       field_file(R"("U8")", "[9223372036854775808]", "[0,1]", 1),
       {"'w'", "9223372036854775808"}},
      {"product",
       field_file(R"("U8")", "[4294967296,4294967296]", "[0,1]", 1),
       {"'w'", "63 bits", "[4294967296, 4294967296]"}},
      {"product in bytes", field_file(R"("F32")", "[4611686018427387904]", "[0,1]", 1), {"'w'", "63 bits"}},
      {"one offset", field_file(R"("U8")", "[1]", "[0]", 1), {"'w'", "two data_offsets", "1"}},
      {"negative offset", field_file(R"("U8")", "[1]", "[-1,0]", 1), {"'w'", "data_offsets", "-1"}},
      {"reversed", field_file(R"("U8")", "[1]", "[1,0]", 1), {"'w'", "ascending", "[1, 0)"}},
      {"past the end", field_file(R"("U8")", "[3]", "[0,3]", 2), {"'w'", "2 bytes", "[0, 3)", "truncated"}},
      {"bytes and shape", field_file(R"("F32")", "[2]", "[0,4]", 4), {"'w'", "8 bytes for f32[2]", "4"}},
      {"overlap",
       safetensors_file(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                        R"("b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                        "xyz"),
       {"'b'", "at 2", "'a' [0, 2)", "[1, 3) (overlap)"}},
      {"gap",
       safetensors_file(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                        R"("b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}})",
                        "xyz"),
       {"'b'", "at 1", "[0, 1)", "[2, 3) (gap)"}},
      {"gap in front", field_file(R"("U8")", "[1]", "[1,2]", 2), {"'w'", "at 0", "[1, 2) (gap)"}},
      {"escaped name", safetensors_file("{\"a\\nb\":3}", ""), {"'a\\nb'"}},
  };
}

TEST(Safetensors, BrokenFilesAreNamedErrors) {
  for (const auto& list : {broken_headers(), broken_tensors()}) {
    for (const Broken& broken : list) {
      SCOPED_TRACE(broken.what);
      const auto bytes = exact_bytes(broken.bytes);
      auto parts = broken.parts;
      parts.push_back("f");
      expect_error([&] { parse_safetensors(bytes, "f"); }, ExitCode::model, parts);
      expect_error([&] { parse_safetensors(bytes, "f", ExitCode::checkpoint); }, ExitCode::checkpoint, parts);
    }
  }
}

TEST(Safetensors, HeaderAboveTheLimitIsRefusedBeforeItIsRead) {
  std::vector<std::byte> bytes(100'000'100);
  const uint64_t header = 100'000'001;
  std::memcpy(bytes.data(), &header, sizeof header);
  expect_error([&] { parse_safetensors(bytes, "f"); }, ExitCode::model, {"at most 100000000", "100000001"});
}

TEST(Safetensors, EveryTruncationIsAnError) {
  for (size_t n = 0; n < kValid.size(); ++n) {
    const auto bytes = exact_bytes(std::string_view(kValid).substr(0, n));
    expect_error([&] { parse_safetensors(bytes, "f"); }, ExitCode::model, {"f"});
  }
}

// Flipped bits give an error of the right kind or a value all of whose slices can be read.
TEST(Safetensors, RandomFlipsNeverCrash) {
  std::mt19937 random(1);
  int accepted = 0;
  for (int i = 0; i < 20000; ++i) {
    auto bytes = exact_bytes(kValid);
    for (unsigned flips = 1 + random() % 3; flips > 0; --flips) {
      bytes[random() % bytes.size()] ^= static_cast<std::byte>(1u << (random() % 8));
    }
    try {
      unsigned sum = 0;
      for (const auto& [name, entry] : parse_safetensors(bytes, "f").tensors) {
        for (const std::byte b : entry.bytes) sum += std::to_integer<unsigned>(b);
      }
      accepted += sum > 0 ? 1 : 0;
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ExitCode::model) << error.what();
    }
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, 20000);
}

}  // namespace
}  // namespace gorgon
