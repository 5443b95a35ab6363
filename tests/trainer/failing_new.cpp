// Preloaded into a program (LD_PRELOAD), it counts the calls of operator new for 16 KiB and more from main
// on: the GORGON_TEST_FAIL_NEW-th finds no memory, and their number goes into the file GORGON_TEST_COUNT_NEW.
// Small ones are left out because nlohmann-json 3.11 asks for some in its destructors, where failing ends a
// process.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>

#include <dlfcn.h>

namespace {

using Main = int (*)(int, char**, char**);

constexpr std::size_t kLeastBytes = 16 << 10;
std::atomic<long> g_calls{0};
long g_failing = 0;
bool g_counting = false;
Main g_main = nullptr;

int counting_main(int argc, char** argv, char** environment) {
  const char* failing = std::getenv("GORGON_TEST_FAIL_NEW");
  g_failing = failing != nullptr ? std::atol(failing) : 0;
  g_counting = true;
  const int status = g_main(argc, argv, environment);
  g_counting = false;
  if (const char* path = std::getenv("GORGON_TEST_COUNT_NEW")) {
    if (std::FILE* file = std::fopen(path, "w")) {
      std::fprintf(file, "%ld", g_calls.load());
      std::fclose(file);
    }
  }
  return status;
}

}  // namespace

// The C library's, which calls main.
extern "C" int __libc_start_main(Main main, int argc, char** argv, void (*init)(), void (*fini)(),
                                 void (*loader_fini)(), void* stack_end) {
  using Start = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);
  g_main = main;
  const auto start = reinterpret_cast<Start>(::dlsym(RTLD_NEXT, "__libc_start_main"));
  return start(counting_main, argc, argv, init, fini, loader_fini, stack_end);
}

void* operator new(std::size_t bytes) {
  if (g_counting && bytes >= kLeastBytes && ++g_calls == g_failing) throw std::bad_alloc();
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
