#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>

#include <gtest/gtest.h>

// kernels -> data -> model -> trainer and kernels -> optim -> trainer ("is included by"): no folder includes
// another against the arrows.

namespace gorgon {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::set<std::string>>& allowed() {
  static const std::map<std::string, std::set<std::string>> arrows = {
      {"kernels", {"kernels"}},
      {"data", {"data", "kernels"}},
      {"model", {"model", "data", "kernels"}},
      {"optim", {"optim", "kernels"}},
      {"trainer", {"trainer", "optim", "model", "data", "kernels"}},
  };
  return arrows;
}

bool is_source(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".h" || extension == ".cpp" || extension == ".cu" || extension == ".cuh";
}

TEST(IncludeArrows, PointOneWay) {
  const std::regex include(R"re(^\s*#\s*include\s*"([^/"]+)(/?)[^"]*")re");
  for (const auto& [folder, folders] : allowed()) {
    int files = 0, includes = 0;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (!is_source(entry.path())) continue;
      ++files;
      std::ifstream in(entry.path());
      std::string line;
      for (int number = 1; std::getline(in, line); ++number) {
        std::smatch match;
        if (!std::regex_search(line, match, include)) continue;
        ++includes;
        const bool beside = match[2] != "/" && fs::exists(entry.path().parent_path() / match[1].str());
        EXPECT_FALSE(beside) << entry.path() << ":" << number << ": includes are written from the root";
        if (match[2] != "/" || !fs::is_directory(match[1].str())) continue;  // generated, or a library's
        EXPECT_TRUE(folders.contains(match[1]))
            << entry.path() << ":" << number << ": " << folder << " must not include " << match[1];
      }
    }
    EXPECT_GT(files, 0) << folder;
    EXPECT_GT(includes, 0) << folder;
  }
}

// A library that is known to one file stays exchangeable.
TEST(IncludeArrows, SomeLibrariesAreKnownToOneFile) {
  const std::map<std::string, std::string> libraries = {{"yaml-cpp/", "trainer/yaml_document.cpp"},
                                                        {"spdlog/", "trainer/console.cpp"},
                                                        {"dnnl", "kernels/gemm_onednn.cpp"},
                                                        {"hdf5.h", "data/hdf5_file.cpp"}};
  for (const auto& [folder, folders] : allowed()) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      if (!is_source(entry.path())) continue;
      const std::string name = entry.path().string();
      std::ifstream in(entry.path());
      std::string line;
      while (std::getline(in, line)) {
        for (const auto& [library, home] : libraries) {
          if (line.starts_with("#include <" + library)) {
            EXPECT_EQ(name, home) << line;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace gorgon
