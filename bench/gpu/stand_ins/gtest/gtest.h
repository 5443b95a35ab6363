#pragma once

// As much of GoogleTest's interface as the op tests use, for machines that have a GPU and no GoogleTest:
// there the tests' own sources are compiled against this file (bench/gpu/CMakeLists.txt). run_all_tests()
// runs them.

#include <cmath>
#include <concepts>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace testing {

class Test {
 public:
  virtual ~Test() = default;
  virtual void SetUp() {}
  virtual void TearDown() {}
  virtual void TestBody() = 0;
};

template <typename T>
class TestWithParam : public Test {
 public:
  using ParamType = T;
  const T& GetParam() const { return *parameter; }
  static inline const T* parameter = nullptr;  // of the test that is made next
};

template <typename T>
struct TestParamInfo {
  T param;
  size_t index;
};

struct Registered {
  std::string name;
  std::function<void()> run;
};
inline std::vector<Registered>& registered() {
  static std::vector<Registered> tests;
  return tests;
}
// Failures of the test that runs, and what SCOPED_TRACE says.
struct Current {
  int failures = 0;
  std::vector<std::string> traces;
};
inline Current& current() {
  static Current instance;
  return instance;
}

// Collects what a failed assertion streams; says it when it goes.
class Failure {
 public:
  Failure(const char* file, int line, const std::string& what) {
    text_ << file << ":" << line << ": " << what;
  }
  Failure(const Failure&) = delete;
  Failure& operator=(const Failure&) = delete;
  ~Failure() {
    constexpr int kMostShown = 5;
    if (++current().failures > kMostShown) return;
    std::cerr << text_.str() << "\n";
    for (const std::string& trace : current().traces) std::cerr << "  where " << trace << "\n";
  }
  template <typename V>
  Failure& operator<<(const V& value) {
    text_ << " " << value;
    return *this;
  }

 private:
  std::ostringstream text_;
};
// Says why a test measures nothing.
class Skip {
 public:
  Skip() = default;
  Skip(const Skip&) = delete;
  Skip& operator=(const Skip&) = delete;
  ~Skip() { std::cerr << text_.str() << "\n"; }
  template <typename V>
  Skip& operator<<(const V& value) {
    text_ << value;
    return *this;
  }

 private:
  std::ostringstream text_;
};
struct Returning {  // lets ASSERT_* leave a void function behind its message
  void operator=(const Failure&) const {}
  void operator=(const Skip&) const {}
};

class Trace {
 public:
  explicit Trace(const std::string& text) { current().traces.push_back(text); }
  ~Trace() { current().traces.pop_back(); }
};

template <typename V>
std::string show(const V& value) {
  if constexpr (requires(std::ostream & out) { out << value; }) {
    std::ostringstream text;
    text.precision(9);
    text << value;
    return text.str();
  } else {
    return "(a value)";
  }
}
template <typename A, typename B>
std::string compared(const char* text, const A& a, const B& b) {
  return std::string(text) + " [" + show(a) + " and " + show(b) + "]";
}
// Integers of different signs compare by value.
template <typename A, typename B>
bool equal(const A& a, const B& b) {
  if constexpr (std::integral<A> && std::integral<B> && !std::same_as<A, bool> && !std::same_as<B, bool>) {
    return std::cmp_equal(a, b);
  } else {
    return a == b;
  }
}

template <typename T>
bool add_test(const char* suite, const char* name) {
  registered().push_back({std::string(suite) + "." + name, [] {
                            T test;
                            test.SetUp();
                            test.TestBody();
                            test.TearDown();
                          }});
  return true;
}

// The TEST_Ps of a suite, made into tests when it is instantiated, in whichever order the two come.
template <typename Suite>
struct Parameterised {
  using Param = typename Suite::ParamType;
  struct Body {
    std::string name;
    std::function<void()> run;
  };
  struct Instance {
    std::string name;
    Param param;
  };
  static std::vector<Body>& bodies() {
    static std::vector<Body> all;
    return all;
  }
  static std::vector<Instance>& instances() {
    static std::vector<Instance> all;
    return all;
  }
  static void pair(const char* suite, const Body& body, const Instance& instance) {
    registered().push_back({std::string(suite) + "." + body.name + "/" + instance.name,
                            [param = instance.param, run = body.run] {
                              Suite::parameter = &param;
                              run();
                            }});
  }
  template <typename T>
  static bool add(const char* suite, const char* name) {
    bodies().push_back({name, [] {
                          T test;
                          test.SetUp();
                          test.TestBody();
                          test.TearDown();
                        }});
    for (const Instance& instance : instances()) pair(suite, bodies().back(), instance);
    return true;
  }
  template <typename Namer>
  static bool instantiate(const char* suite, const std::vector<Param>& params, Namer&& namer) {
    for (size_t i = 0; i < params.size(); ++i) {
      instances().push_back({namer(TestParamInfo<Param>{params[i], i}), params[i]});
      for (const Body& body : bodies()) pair(suite, body, instances().back());
    }
    return true;
  }
  static bool instantiate(const char* suite, const std::vector<Param>& params) {
    return instantiate(suite, params, [](const auto& info) { return std::to_string(info.index); });
  }
};

template <typename... V>
struct ValueList {
  std::tuple<V...> values;
  template <typename T>
  operator std::vector<T>() const {  // NOLINT: implicit, as GoogleTest's
    std::vector<T> all;
    std::apply([&](const auto&... value) { (all.push_back(static_cast<T>(value)), ...); }, values);
    return all;
  }
};
template <typename... V>
ValueList<V...> Values(V... values) {
  return {{std::move(values)...}};
}

// Runs the tests whose name contains one of the filters, or all where there is none; the number of tests that
// ran, and the names of those that failed.
struct Outcome {
  int ran = 0;
  std::vector<std::string> failed;
};
inline Outcome run_all_tests(const std::vector<std::string>& filters) {
  Outcome outcome;
  for (const Registered& test : registered()) {
    bool wanted = filters.empty();
    for (const std::string& filter : filters) wanted = wanted || test.name.find(filter) != std::string::npos;
    if (!wanted) continue;
    current() = {};
    try {
      test.run();
    } catch (const std::exception& error) {
      Failure("", 0, std::string("an exception: ") + error.what());
    }
    ++outcome.ran;
    if (current().failures > 0) outcome.failed.push_back(test.name);
    std::cerr << (current().failures > 0 ? "FAIL " : "ok   ") << test.name << "\n";
  }
  return outcome;
}

}  // namespace testing

#define GORGON_FAILURE(text) ::testing::Failure(__FILE__, __LINE__, text)
#define GORGON_CHECK(good, text) \
  if (good)                      \
    ;                            \
  else                           \
    GORGON_FAILURE(text)
#define GORGON_REQUIRE(good, text) \
  if (good)                        \
    ;                              \
  else                             \
    return ::testing::Returning() = GORGON_FAILURE(text)

#define EXPECT_TRUE(a) GORGON_CHECK((a), #a)
#define EXPECT_FALSE(a) GORGON_CHECK(!(a), "not " #a)
#define EXPECT_EQ(a, b) GORGON_CHECK(::testing::equal(a, b), ::testing::compared(#a " == " #b, a, b))
#define EXPECT_NE(a, b) GORGON_CHECK(!::testing::equal(a, b), ::testing::compared(#a " != " #b, a, b))
#define EXPECT_LT(a, b) GORGON_CHECK((a) < (b), ::testing::compared(#a " < " #b, a, b))
#define EXPECT_LE(a, b) GORGON_CHECK((a) <= (b), ::testing::compared(#a " <= " #b, a, b))
#define EXPECT_GT(a, b) GORGON_CHECK((a) > (b), ::testing::compared(#a " > " #b, a, b))
#define EXPECT_NEAR(a, b, bound)                                                     \
  GORGON_CHECK(std::abs(static_cast<double>(a) - static_cast<double>(b)) <= (bound), \
               ::testing::compared(#a " near " #b, a, b))
#define ASSERT_TRUE(a) GORGON_REQUIRE((a), #a)
#define ASSERT_EQ(a, b) GORGON_REQUIRE(::testing::equal(a, b), ::testing::compared(#a " == " #b, a, b))
#define ASSERT_NE(a, b) GORGON_REQUIRE(!::testing::equal(a, b), ::testing::compared(#a " != " #b, a, b))
#define ASSERT_NEAR(a, b, bound)                                                       \
  GORGON_REQUIRE(std::abs(static_cast<double>(a) - static_cast<double>(b)) <= (bound), \
                 ::testing::compared(#a " near " #b, a, b))
#define GTEST_SKIP() return ::testing::Returning() = ::testing::Skip()
#define ADD_FAILURE() GORGON_FAILURE("")
#define EXPECT_THROW(statement, type)         \
  {                                           \
    bool thrown = false;                      \
    try {                                     \
      statement;                              \
    } catch (const type&) {                   \
      thrown = true;                          \
    }                                         \
    EXPECT_TRUE(thrown) << #type " expected"; \
  }
#define EXPECT_NO_THROW(statement)                          \
  try {                                                     \
    statement;                                              \
  } catch (const std::exception& error) {                   \
    GORGON_FAILURE(std::string("thrown: ") + error.what()); \
  }

#define GORGON_JOIN_(a, b) a##b
#define GORGON_JOIN(a, b) GORGON_JOIN_(a, b)
#define SCOPED_TRACE(text) const ::testing::Trace GORGON_JOIN(trace_, __LINE__)(::testing::show(text))

#define TEST_F(suite, name)                                                                             \
  class suite##_##name##_Test : public suite {                                                          \
   public:                                                                                              \
    void TestBody() override;                                                                           \
  };                                                                                                    \
  static const bool suite##_##name##_added = ::testing::add_test<suite##_##name##_Test>(#suite, #name); \
  void suite##_##name##_Test::TestBody()
#define TEST(suite, name)                                                                               \
  class suite##_##name##_Test : public ::testing::Test {                                                \
   public:                                                                                              \
    void TestBody() override;                                                                           \
  };                                                                                                    \
  static const bool suite##_##name##_added = ::testing::add_test<suite##_##name##_Test>(#suite, #name); \
  void suite##_##name##_Test::TestBody()
#define TEST_P(suite, name)                                                       \
  class suite##_##name##_Test : public suite {                                    \
   public:                                                                        \
    void TestBody() override;                                                     \
  };                                                                              \
  static const bool suite##_##name##_added =                                      \
      ::testing::Parameterised<suite>::add<suite##_##name##_Test>(#suite, #name); \
  void suite##_##name##_Test::TestBody()
#define INSTANTIATE_TEST_SUITE_P(prefix, suite, ...)  \
  static const bool suite##_##prefix##_instantiated = \
      ::testing::Parameterised<suite>::instantiate(#suite, __VA_ARGS__)
