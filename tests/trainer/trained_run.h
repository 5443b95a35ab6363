#pragma once

#include <string>

#include <gtest/gtest.h>

#include "tests/data/temporary_directory.h"
#include "tests/trainer/program.h"
#include "tests/trainer/tiny_run.h"

namespace gorgon {

// One tiny run, trained for a step by the program, for all tests of a suite.
class TrainedRun : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryDirectory;
    write_tiny_run(folder_->path());
    const ProgramResult trained = run_program({"train", at("run.yaml"), "--set", "max_steps=1"});
    ASSERT_EQ(trained.status, 0) << trained.err;
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static std::string at(const std::string& name) { return (folder_->path() / name).string(); }

  static inline TemporaryDirectory* folder_ = nullptr;
};

}  // namespace gorgon
