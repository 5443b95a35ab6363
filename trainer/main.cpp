#include "trainer/command_line.h"

int main(int argc, char** argv) {
  return gorgon::run_command_line(argc, argv);
}
