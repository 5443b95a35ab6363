#include "trainer/command_line.h"
#include "trainer/heap.h"

int main(int argc, char** argv) {
  gorgon::give_back_large_blocks();
  return gorgon::run_command_line(argc, argv);
}
