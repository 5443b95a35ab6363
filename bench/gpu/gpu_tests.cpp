// gorgon_gpu_tests [FILTER...] [--json FILE]: the op tests of tests/ on GORGON_TEST_DEVICE. Exit status 1
// where one fails.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

int main(int argc, char** argv) {
  std::vector<std::string> filters;
  std::ofstream file;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      file.open(argv[++i]);
    } else {
      filters.emplace_back(argv[i]);
    }
  }
  const testing::Outcome outcome = testing::run_all_tests(filters);
  std::fprintf(stderr, "%d tests, %zu failed\n", outcome.ran, outcome.failed.size());
  if (file) {
    file << R"([{"what": "op_tests", "tests": )" << outcome.ran << R"(, "failed": )" << outcome.failed.size()
         << R"(, "failed_tests": [)";
    for (size_t i = 0; i < outcome.failed.size(); ++i)
      file << (i > 0 ? ", \"" : "\"") << outcome.failed[i] << '"';
    file << "]}]\n";
  }
  return !outcome.failed.empty() || outcome.ran == 0 ? 1 : 0;
}
