// usage: write_tiny_run FOLDER    the tiny model, data and run.yaml of tests/trainer/tiny_run.h, for scripts
#include <cstdio>

#include "tests/trainer/tiny_run.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_tiny_run FOLDER\n");
    return 2;
  }
  gorgon::write_tiny_run(argv[1]);
  return 0;
}
