#pragma once

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "data/chat_template.h"
#include "data/tokenizer.h"

namespace gorgon {

// Tokenizer and chat template of the small real model, loaded once for all tests of a program.
struct RealTextModel {
  Tokenizer tokenizer = Tokenizer::load(GORGON_TEST_MODEL);
  ChatTemplate chat_template{tokenizer.chat_template(), tokenizer.token_text(tokenizer.bos_id()),
                             tokenizer.token_text(tokenizer.eos_id()), GORGON_TEST_MODEL};
};

inline const RealTextModel& real_text_model() {
  static const RealTextModel model;
  return model;
}

class WithRealTextModel : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(GORGON_TEST_MODEL))
      GTEST_SKIP() << "no model; scripts/fetch_model.sh fetches it";
  }
};

}  // namespace gorgon
