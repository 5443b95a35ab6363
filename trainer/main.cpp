#include "trainer/command_line.h"
#include "trainer/heap.h"
#include "trainer/write_failures.h"

int main(int argc, char** argv) {
  gorgon::give_back_large_blocks();
  gorgon::let_writes_fail();
  return gorgon::run_command_line(argc, argv);
}
