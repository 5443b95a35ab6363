// gorgon_gpu_tests [FILTER] [--json FILE]: the op tests of tests/ on GORGON_TEST_DEVICE. Exit status 1 where
// one fails.
#include <cstdio>
#include <cstring>
#include <fstream>

#include <gtest/gtest.h>

int main(int argc, char** argv) {
  std::string filter;
  std::ofstream file;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      file.open(argv[++i]);
    } else {
      filter = argv[i];
    }
  }
  const testing::Outcome outcome = testing::run_all_tests(filter);
  std::fprintf(stderr, "%d tests, %d failed\n", outcome.ran, outcome.failed);
  if (file) {
    file << R"([{"what": "op_tests", "tests": )" << outcome.ran << R"(, "failed": )" << outcome.failed
         << "}]\n";
  }
  return outcome.failed > 0 || outcome.ran == 0 ? 1 : 0;
}
