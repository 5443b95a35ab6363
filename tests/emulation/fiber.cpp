#include "tests/emulation/fiber.h"

#include <cstdint>
#include <cstdlib>
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

// gorgon_switch_stack(save, load): keeps what a call must preserve on the stack that runs, stores its pointer
// in *save and goes on where the stack `load` left off. swapcontext would ask the kernel for the signal mask
// every time.
extern "C" void gorgon_switch_stack(void** save, void* load);
#if defined(__x86_64__)
asm(R"(
.text
.globl gorgon_switch_stack
.type gorgon_switch_stack, @function
gorgon_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gorgon_switch_stack, . - gorgon_switch_stack
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl gorgon_switch_stack
.type gorgon_switch_stack, %function
gorgon_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size gorgon_switch_stack, . - gorgon_switch_stack
)");
#else
#error "the emulation of a GPU knows how to switch stacks on x86-64 and aarch64"
#endif

namespace gorgon::emulation {

namespace {

constexpr size_t kStackBytes = 128 << 10;
thread_local Fiber* entering = nullptr;

size_t page_bytes() {
  return static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// A stack as gorgon_switch_stack leaves it, whose return address is `start`.
void* fresh_stack(void* stack, void (*start)()) {
  auto* top = reinterpret_cast<void**>(static_cast<char*>(stack) + kStackBytes);
#if defined(__x86_64__)
  top[-1] = nullptr;  // where the return address of start would be
  top[-2] = reinterpret_cast<void*>(start);
  for (int i = 3; i <= 8; ++i) top[-i] = nullptr;
  return top - 8;
#else
  for (int i = 1; i <= 20; ++i) top[-i] = nullptr;
  top[-20 + 11] = reinterpret_cast<void*>(start);  // x30
  return top - 20;
#endif
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
  if (!finished_) __asan_unpoison_memory_region(stack_, kStackBytes);  // frames that will never return
  body_ = &body;
  finished_ = false;
  inside_ = fresh_stack(stack_, &Fiber::run);
}

void Fiber::enter() {
  void* fake_stack = nullptr;
  entering = this;
  __sanitizer_start_switch_fiber(&fake_stack, stack_, kStackBytes);
  gorgon_switch_stack(&outside_, inside_);
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
}

void Fiber::leave() {
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, caller_stack_, caller_size_);
  gorgon_switch_stack(&inside_, outside_);
  __sanitizer_finish_switch_fiber(fake_stack, &caller_stack_, &caller_size_);
}

void Fiber::run() {
  Fiber* self = entering;
  __sanitizer_finish_switch_fiber(nullptr, &self->caller_stack_, &self->caller_size_);
  (*self->body_)();
  self->finished_ = true;
  __sanitizer_start_switch_fiber(nullptr, self->caller_stack_, self->caller_size_);
  gorgon_switch_stack(&self->inside_, self->outside_);
  std::abort();  // nobody enters a finished fiber
}

}  // namespace gorgon::emulation
