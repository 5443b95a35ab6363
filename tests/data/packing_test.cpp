#include "data/packing.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "tests/data/dataset_examples.h"

namespace gorgon {
namespace {

using Lengths = std::vector<int64_t>;

// The definition token by token: position i of all documents joined lies in sequence i / max; its segment is
// the number of documents of that sequence that began before its own.
Dataset wrapped_by_definition(const Lengths& lengths, int64_t max) {
  Dataset out;
  std::vector<int64_t> document_of;
  for (size_t d = 0; d < lengths.size(); ++d) {
    const auto [tokens, labels] = example_document(static_cast<int32_t>(d), lengths[d]);
    for (size_t i = 0; i < tokens.size(); ++i) {
      out.tokens.push_back(tokens[i]);
      out.labels.push_back(labels[i]);
      document_of.push_back(static_cast<int64_t>(d));
    }
  }
  const auto n = static_cast<int64_t>(out.tokens.size());
  for (int64_t i = 0; i < n; ++i) {
    if (i % max == 0) out.offsets.push_back(i);
    const int64_t first = document_of[static_cast<size_t>(out.offsets.back())];
    out.segments.push_back(static_cast<int32_t>(document_of[static_cast<size_t>(i)] - first));
  }
  out.offsets.push_back(n);
  return out;
}

void expect_equal(const Dataset& a, const Dataset& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.segments, b.segments);
  EXPECT_EQ(a.offsets, b.offsets);
}

TEST(Packing, WrappedFollowsItsDefinition) {
  const std::vector<Lengths> cases = {
      {1},     {8},     {9},           {8, 8},       {3, 5, 1},        {7, 1, 1, 7},
      {25, 1}, {1, 25}, {16, 3, 5, 8}, {2, 2, 2, 2}, {40, 40, 1, 1, 6}};
  for (const Lengths& lengths : cases) {
    for (const int64_t max : {1, 2, 3, 8, 9, 100}) {
      SCOPED_TRACE(testing::Message() << "max " << max << " lengths " << testing::PrintToString(lengths));
      expect_equal(example_dataset(lengths, Packing::wrapped, max), wrapped_by_definition(lengths, max));
    }
  }
}

TEST(Packing, WrappedKeepsTheLastPieceAndNumbersSegmentsAnew) {
  const Dataset d = example_dataset({3, 4, 2}, Packing::wrapped, 4);
  EXPECT_EQ(d.offsets, (Lengths{0, 4, 8, 9}));
  EXPECT_EQ(d.segments, (std::vector<int32_t>{0, 0, 0, 1, 0, 0, 0, 1, 0}));
  EXPECT_EQ(d.tokens, (std::vector<int32_t>{0, 1, 2, 1000, 1001, 1002, 1003, 2000, 2001}));
  EXPECT_EQ(d.labels, (std::vector<int32_t>{0, 1, -100, 1000, 1001, -100, 1003, 2000, 2001}));
}

TEST(Packing, NoneClipsAndCounts) {
  Dataset d;
  Packer packer(Packing::none, 4, d);
  for (const int64_t length : {3, 4, 6, 9}) {
    const auto [tokens, labels] = example_document(static_cast<int32_t>(length), length);
    packer.add(tokens, labels);
  }
  packer.finish();
  EXPECT_EQ(d.offsets, (Lengths{0, 3, 7, 11, 15}));
  EXPECT_EQ(packer.clipped_tokens(), 2 + 5);
  EXPECT_EQ(packer.clipped_documents(), 2);
  EXPECT_EQ(std::count(d.segments.begin(), d.segments.end(), 0), 15);
  EXPECT_EQ(d.tokens[10], 6003);
  EXPECT_EQ(d.labels[9], -100);
}

TEST(Packing, RefusesMisuse) {
  Dataset d;
  EXPECT_THROW(Packer(Packing::none, 0, d), Error);
  Packer packer(Packing::none, 4, d);
  const std::vector<int32_t> two = {1, 2}, one = {1};
  EXPECT_THROW(packer.add(two, one), Error);
  EXPECT_THROW(packer.add({}, {}), Error);
  EXPECT_THROW(Packer(Packing::none, 4, d), Error);  // no longer empty
}

TEST(Dataset, GathersSequencesInTheOrderAsked) {
  const Dataset d = example_dataset({5, 2, 6}, Packing::none, 5);
  const Sequences s = d.gather({2, 0});
  EXPECT_EQ(s.count(), 2);
  EXPECT_EQ(s.offsets, (Lengths{0, 5, 10}));
  EXPECT_EQ(s.first_id, (Lengths{7, 0}));
  EXPECT_EQ(s.tokens, (std::vector<int32_t>{2000, 2001, 2002, 2003, 2004, 0, 1, 2, 3, 4}));
  EXPECT_EQ(s.labels[2], -100);
  EXPECT_EQ(s.segments.size(), s.tokens.size());
  EXPECT_EQ(d.gather({}).count(), 0);
  EXPECT_THROW(d.gather({3}), Error);
  EXPECT_THROW(d.gather({-1}), Error);
}

}  // namespace
}  // namespace gorgon
