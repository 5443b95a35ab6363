#pragma once

#include <string>
#include <utility>
#include <vector>

#include "data/jinja_value.h"

namespace gorgon::jinja {

// Arguments of a function, method, filter or test.
struct Arguments {
  List positional;
  Dict keywords;

  // Argument number `index`, or of that name; undefined where it is not given.
  Value get(size_t index, const std::string& name) const;
};

// range, namespace, raise_exception; strftime_now too, which templates ask for before they call it, and which
// is undefined here: a rendered text must not depend on the day.
bool known_function(const std::string& name);
bool known_method(const std::string& name);
bool known_filter(const std::string& name);
bool known_test(const std::string& name);
std::string list_of_filters();
std::string list_of_methods();
std::string list_of_tests();

// As Jinja and Python define them, but that letters change case one by one ("ß" has no capital of two
// letters). Throw ValueError.
Value call_method(const std::string& name, const Value& self, const Arguments& arguments);
Value call_filter(const std::string& name, const Value& value, const Arguments& arguments);
bool call_test(const std::string& name, const Value& value, const Arguments& arguments);
Value range(const Arguments& arguments);

}  // namespace gorgon::jinja
