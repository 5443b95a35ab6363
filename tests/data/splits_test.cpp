#include "data/splits.h"

#include <set>

#include <gtest/gtest.h>

#include "data/prompt_hashes.h"
#include "kernels/error.h"
#include "tests/data/temporary_directory.h"

namespace gorgon {
namespace {

// python3 -c 'import hashlib; [print(int(hashlib.sha256(p.encode()).hexdigest(),16)%100) for p in (...)]'
TEST(Splits, GoldenRemainders) {
  EXPECT_EQ(split_of("p101"), Split::calibration);  // 0
  EXPECT_EQ(split_of("p103"), Split::calibration);  // 4
  EXPECT_EQ(split_of("p31"), Split::test);          // 5
  EXPECT_EQ(split_of("p23"), Split::test);          // 9
  EXPECT_EQ(split_of("p76"), Split::training);      // 10
  EXPECT_EQ(split_of("p2"), Split::training);       // 99
}

TEST(Splits, DisjointAndWithoutDuplicates) {
  std::vector<std::string> prompts;
  for (int i = 0; i < 4000; ++i) prompts.push_back("prompt " + std::to_string(i % 3000));
  const PromptSplits splits = split_prompts(prompts);
  EXPECT_EQ(splits.duplicates, 1000);
  std::set<int64_t> all;
  for (const auto* part : {&splits.calibration, &splits.test, &splits.training}) {
    for (const int64_t i : *part) EXPECT_TRUE(all.insert(i).second);
  }
  EXPECT_EQ(all.size(), 3000u);
  EXPECT_EQ(*all.rbegin(), 2999);
  // 5 % of 3,000 within four standard deviations, sqrt(3000 * 0.05 * 0.95) = 12.
  EXPECT_NEAR(static_cast<double>(splits.calibration.size()), 150, 48);
  EXPECT_NEAR(static_cast<double>(splits.test.size()), 150, 48);
}

// python3 -c 'import hashlib; print(hashlib.sha256(b"p101").hexdigest()[:16])'
TEST(PromptHashes, AreTheFirstBitsOfTheSumOfSplits) {
  EXPECT_EQ(prompt_hash("p101"), 0x3e91adc4a3e57e6e);
  EXPECT_EQ(PromptHashes({prompt_hash("p101")}).hex(), "3e91adc4a3e57e6e");
}

TEST(PromptHashes, AreKeptInAFileAndAsText) {
  const TemporaryDirectory folder;
  const PromptHashes known({prompt_hash("b"), prompt_hash("a"), prompt_hash("b")});
  EXPECT_EQ(known.size(), 2);
  EXPECT_TRUE(known.contains("a"));
  EXPECT_FALSE(known.contains("c"));
  known.write(folder.path() / "prompts");
  EXPECT_EQ(std::filesystem::file_size(folder.path() / "prompts"), 17u + 2 * 8);
  EXPECT_TRUE(PromptHashes::read(folder.path() / "prompts") == known);
  EXPECT_TRUE(PromptHashes::parse_hex(known.hex(), "x") == known);
  EXPECT_EQ(PromptHashes::parse_hex("", "x").size(), 0);
}

TEST(PromptHashes, DamageIsRefused) {
  const TemporaryDirectory folder;
  const std::string bytes = "gorgon prompts 1\n";
  const std::string one(8, '\1'), two(8, '\2');
  for (const std::string& damaged :
       std::vector<std::string>{"", "gorgon", bytes + "1234567", bytes + two + one})
    EXPECT_THROW(PromptHashes::read(folder.write("damaged", damaged)), Error) << damaged;
  EXPECT_EQ(PromptHashes::read(folder.write("whole", bytes + one + two)).size(), 2);
  for (const char* text : {"012345678901234", "01234567890123xy", "-123456789012345"})
    EXPECT_THROW(PromptHashes::parse_hex(text, "x"), Error) << text;
}

}  // namespace
}  // namespace gorgon
