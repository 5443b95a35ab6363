#include "data/generator/chat_stream.h"

#include <set>

#include <gtest/gtest.h>

#include "data/generator/record_chat.h"
#include "data/generator/text_to_sql.h"

namespace gorgon::generator {
namespace {

// The numbers of a data set belong to the program: whoever trains on the default files trains on these bytes.
// A change of the generator changes them, and with them every figure that was measured on the quickstart.
struct SqlTask {
  using Stream = SqlChatStream;
  static constexpr const char* kTrain = "132676058ec0323f33daa3540f1d06d9fcdd65bc9089737fa8d30aa51667f134";
  static constexpr const char* kEval = "da651cdc09d6e2de79acbea780172cb6e5165f67bbd205827ad0474759e7d1b8";
};
struct RecordTask {
  using Stream = RecordChatStream;
  static constexpr const char* kTrain = "c3ebb8cb9e4ab939a3fc90eb8f3698db37d0b9d22548f3b2e515707be84875a2";
  static constexpr const char* kEval = "55a3e04e4e2b28e16fb1309d26e64567b8c54d28729f65274c33e2440c9f29de";
};

template <class Task>
class Chats : public testing::Test {};
using Tasks = testing::Types<SqlTask, RecordTask>;
TYPED_TEST_SUITE(Chats, Tasks);

TYPED_TEST(Chats, NoPromptOccursTwiceInOrAcrossSplits) {
  std::set<std::string> all;
  size_t rows = 0;
  for (const uint64_t seed : {42, 7}) {
    for (const auto& [split, count] :
         {std::pair(Split::train, 2000), std::pair(Split::calibration, 100), std::pair(Split::test, 100)}) {
      typename TypeParam::Stream stream(seed, split);
      for (int i = 0; i < count; ++i, ++rows) {
        const std::string prompt = prompt_of(stream.next());
        ASSERT_TRUE(is_in(prompt, split));
        ASSERT_EQ(is_in(prompt, Split::eval), split != Split::train);
        all.insert(prompt);
      }
    }
  }
  EXPECT_EQ(all.size(), rows);  // other seeds give other rows too
}

TYPED_TEST(Chats, TheFirstRowsAreFixed) {
  const auto digest = [](Split split) {
    typename TypeParam::Stream stream(42, split);
    std::string rows;
    for (int i = 0; i < 100; ++i) rows += to_json_line(stream.next());
    return sha256_of(rows);
  };
  EXPECT_EQ(digest(Split::train), TypeParam::kTrain);
  EXPECT_EQ(digest(Split::eval), TypeParam::kEval);
}

}  // namespace
}  // namespace gorgon::generator
