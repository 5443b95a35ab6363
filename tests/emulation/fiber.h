#pragma once

#include <cstddef>
#include <functional>

namespace gorgon::emulation {

// A function with its own stack that can be left and entered again: one emulated GPU thread. Works under
// AddressSanitizer (stack switches are announced). Not movable; one host thread uses it.
class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Makes body the function to run from the next enter() on. What ran before, finished or not, is dropped.
  void start(const std::function<void()>& body);
  // Runs until the body leaves or returns. Called from outside of the fiber.
  void enter();
  // Back to the caller of enter(). Called from inside of the fiber.
  void leave();
  bool finished() const { return finished_; }

 private:
  static void run();

  void* stack_ = nullptr;   // with a guard page below
  void* inside_ = nullptr;  // stack pointers of the two sides while they wait
  void* outside_ = nullptr;
  const std::function<void()>* body_ = nullptr;
  bool finished_ = true;
  const void* caller_stack_ = nullptr;  // what AddressSanitizer has to be told
  size_t caller_size_ = 0;
};

}  // namespace gorgon::emulation
