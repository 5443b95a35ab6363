#pragma once

#include <fstream>
#include <vector>

#include <nlohmann/json.hpp>

namespace gorgon {

// tests/golden/optim/optimizer.json, made by tests/oracle/optimizer.py.
inline nlohmann::json optimizer_golden() {
  std::ifstream file(GORGON_TEST_DATA "/optim/optimizer.json");
  return nlohmann::json::parse(file);
}

}  // namespace gorgon
