#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/generator/words.h"

namespace gorgon::generator {

// Random choices of one chat: Philox by (seed; draw, number of the chat).
class Dice {
 public:
  Dice(uint64_t seed, uint64_t number) : seed_(seed), number_(number) {}
  int64_t below(int64_t count);  // uniform in [0, count) but for a bias of count / 2^32
  int64_t between(int64_t low, int64_t high) { return low + below(high - low + 1); }
  bool chance(int percent) { return below(100) < percent; }
  template <class List>
  const auto& pick(const List& list) {
    return list[static_cast<size_t>(below(static_cast<int64_t>(list.size())))];
  }
  template <class T>
  void shuffle(std::vector<T>& list) {
    for (size_t i = list.size(); i > 1; --i)
      std::swap(list[i - 1], list[static_cast<size_t>(below(static_cast<int64_t>(i)))]);
  }

 private:
  uint64_t seed_, number_, draw_ = 0;
};

std::string sql_name(std::string_view words);                // "release year" -> "release_year"
std::string with_article(std::string_view words);            // "a title", "an artist", "goals"
std::string random_value(const Column& column, Dice& dice);  // bare, without quotes
std::string sql_literal(const Column& column, const std::string& value);

// One or more comparisons, as a question says them and as SQL does.
struct Condition {
  std::string words;  // "whose city is Lyon and whose floors is above 4"
  std::string sql;    // "city = \"Lyon\" AND floors > 4"
};

// The tables of one chat and what it may ask about. Columns are used up: no column is drawn twice.
class Scene {
 public:
  explicit Scene(Dice& dice);

  const Theme& theme() const { return *theme_; }
  const std::string& table() const { return table_; }
  const Column& any();             // a column not used yet
  const Column& number();          // one of numbers
  const Column& category();        // one whose values repeat: choice, country, city, language, ...
  const Column& name();            // the first column of the theme
  Condition condition(int count);  // on `count` columns not used yet
  // A condition on the parent's table, written with alias T2; adds that table to the schema.
  Condition parent_condition();

  std::string schema();  // CREATE TABLE lines with all columns used and some others

 private:
  const Column& use(const Column& column);
  const Column& draw(bool (*fits)(const Column&));
  std::string create_table(const std::string& table, std::vector<const Column*> columns, bool with_id,
                           const std::string& reference);

  Dice& dice_;
  const Theme* theme_;
  std::string table_;
  std::vector<const Column*> unused_, used_;
  std::vector<const Column*> parent_used_;
};

}  // namespace gorgon::generator
