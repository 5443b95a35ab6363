#include "tests/emulation/fiber.h"

#include <cstdint>
#include <new>

#include <sys/mman.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1  // what GCC defines, for clang
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
// The announcements of sanitizer/common_interface_defs.h, without a sanitizer to hear them.
static void __sanitizer_start_switch_fiber(void**, const void*, size_t) {}
static void __sanitizer_finish_switch_fiber(void*, const void**, size_t*) {}
static void __asan_unpoison_memory_region(const volatile void*, size_t) {}
#endif

namespace gorgon::emulation {

namespace {
constexpr size_t kStackBytes = 128 << 10;
size_t page_bytes() {
  return static_cast<size_t>(sysconf(_SC_PAGESIZE));
}
}  // namespace

Fiber::Fiber() {
  void* memory = mmap(nullptr, kStackBytes + page_bytes(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page_bytes(), PROT_NONE);
  stack_ = static_cast<char*>(memory) + page_bytes();
}

Fiber::~Fiber() {
  munmap(static_cast<char*>(stack_) - page_bytes(), kStackBytes + page_bytes());
}

void Fiber::start(const std::function<void()>& body) {
  __asan_unpoison_memory_region(stack_, kStackBytes);
  body_ = &body;
  finished_ = false;
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack_;
  context_.uc_stack.ss_size = kStackBytes;
  context_.uc_link = nullptr;
  const auto self = reinterpret_cast<uintptr_t>(this);
  makecontext(&context_, reinterpret_cast<void (*)()>(&Fiber::trampoline), 2,
              static_cast<unsigned>(self >> 32), static_cast<unsigned>(self));
}

void Fiber::enter() {
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, stack_, kStackBytes);
  swapcontext(&caller_, &context_);
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}

void Fiber::leave() {
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, caller_stack_, caller_size_);
  swapcontext(&context_, &caller_);
  __sanitizer_finish_switch_fiber(fake_stack, &caller_stack_, &caller_size_);
}

void Fiber::trampoline(unsigned high, unsigned low) {
  auto* self = reinterpret_cast<Fiber*>((static_cast<uintptr_t>(high) << 32) | low);
  __sanitizer_finish_switch_fiber(nullptr, &self->caller_stack_, &self->caller_size_);
  (*self->body_)();
  self->finished_ = true;
  __sanitizer_start_switch_fiber(nullptr, self->caller_stack_, self->caller_size_);
  setcontext(&self->caller_);
}

}  // namespace gorgon::emulation
