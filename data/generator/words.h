#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace gorgon::generator {

// What the values of a column are.
enum class Kind : uint8_t {
  person,
  city,
  country,
  company,
  title,
  month,
  language,
  code,
  choice,  // one of the column's own
  date,
  year,
  small,     // 1 to 40
  hundreds,  // 20 to 900
  thousands,
  money,
  decimal,  // one digit behind the point
};
inline bool is_number(Kind kind) {
  return kind >= Kind::year;
}

using Words = std::span<const std::string_view>;

// A column by the words a question uses for it ("release year"); underscores make its name in SQL.
struct Column {
  std::string_view words;
  Kind kind;
  Words choices = {};
};

// A table of things, and one that it refers to ("film" and "studio"). The first column names the thing.
struct Theme {
  std::string_view singular, plural;
  std::span<const Column> columns;
  std::string_view parent, parents;
  std::span<const Column> parent_columns;
};

std::span<const Theme> themes();

Words first_names();
Words last_names();
Words cities();
Words countries();
Words months();
Words languages();
Words adjectives();
Words nouns();

}  // namespace gorgon::generator
