#include "data/generator/scene.h"

#include <algorithm>
#include <utility>

#include "kernels/philox.h"

namespace gorgon::generator {

namespace {

bool anything(const Column&) {
  return true;
}

bool is_a_number(const Column& column) {
  return is_number(column.kind) && column.kind != Kind::year;
}

bool repeats(const Column& column) {
  return column.kind == Kind::choice || column.kind == Kind::country || column.kind == Kind::city ||
         column.kind == Kind::language || column.kind == Kind::company || column.kind == Kind::month;
}

std::string_view sql_type(Kind kind) {
  if (kind == Kind::decimal) return "REAL";
  return is_number(kind) ? "INTEGER" : "VARCHAR";
}

bool is_plural(std::string_view words) {
  return words.ends_with("s") && !words.ends_with("ss") && !words.ends_with("is") && !words.ends_with("us");
}

// One comparison, in one of three styles of speech: "whose X is ...", "with a X ...", "where the X is ...".
Condition compare(const Column& column, int64_t style, const std::string& prefix, Dice& dice) {
  struct Operator {
    std::string_view sql, is, of;
  };
  constexpr std::array<Operator, 2> kEqual = {{{"=", "is ", "of "}, {"=", "is ", "of "}}};
  constexpr std::array<Operator, 6> kNumber = {{{"=", "is ", "of "},
                                                {">", "is above ", "above "},
                                                {">", "is more than ", "of more than "},
                                                {"<", "is below ", "below "},
                                                {"<", "is less than ", "of less than "},
                                                {">=", "is at least ", "of at least "}}};
  constexpr std::array<Operator, 3> kDate = {
      {{"=", "is ", "of "}, {">", "is after ", "after "}, {"<", "is before ", "before "}}};
  const bool dated = column.kind == Kind::date || column.kind == Kind::year;
  const Operator op = dated                    ? dice.pick(kDate)
                      : is_number(column.kind) ? dice.pick(kNumber)
                                               : dice.pick(kEqual);
  const std::string value = random_value(column, dice);
  const std::string words(column.words);
  std::string is(op.is);
  if (is_plural(words)) is.replace(0, 2, "are");
  Condition out;
  switch (style) {
    case 0:
      out.words = "whose " + words + " " + is + value;
      break;
    case 1:
      out.words = "with " + with_article(words) + " " + std::string(op.of) + value;
      break;
    default:
      out.words = "where the " + words + " " + is + value;
      break;
  }
  out.sql = prefix + sql_name(words) + " " + std::string(op.sql) + " " + sql_literal(column, value);
  return out;
}

std::string two_digits(int64_t value) {
  return (value < 10 ? "0" : "") + std::to_string(value);
}

}  // namespace

int64_t Dice::below(int64_t count) {
  const uint64_t bits = philox(seed_, draw_++, number_)[0];
  return static_cast<int64_t>((bits * static_cast<uint64_t>(count)) >> 32);
}

std::string sql_name(std::string_view words) {
  std::string name(words);
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

std::string with_article(std::string_view words) {
  if (is_plural(words)) return std::string(words);
  return (std::string_view("aeio").find(words.front()) == std::string_view::npos ? "a " : "an ") +
         std::string(words);
}

std::string random_value(const Column& column, Dice& dice) {
  // Choices are statements of their own: the order in which operands are evaluated is the compiler's.
  const auto join = [&dice](Words a, Words b) {
    const std::string first(dice.pick(a));
    return first + " " + std::string(dice.pick(b));
  };
  constexpr std::array<std::string_view, 6> kForms = {"Works", "United", "Brothers",
                                                      "Group", "Union",  "House"};
  switch (column.kind) {
    case Kind::person:
      return join(first_names(), last_names());
    case Kind::city:
      return std::string(dice.pick(cities()));
    case Kind::country:
      return std::string(dice.pick(countries()));
    case Kind::company:
      return join(dice.chance(50) ? last_names() : nouns(), kForms);
    case Kind::title:
      return join(adjectives(), nouns());
    case Kind::month:
      return std::string(dice.pick(months()));
    case Kind::language:
      return std::string(dice.pick(languages()));
    case Kind::choice:
      return std::string(dice.pick(column.choices));
    case Kind::code: {
      const char letters[] = {static_cast<char>('A' + dice.below(26)),
                              static_cast<char>('A' + dice.below(26))};
      return std::string(letters, 2) + "-" + std::to_string(dice.between(100, 999));
    }
    case Kind::date: {
      const std::string year = std::to_string(dice.between(1960, 2023));
      const std::string month = two_digits(dice.between(1, 12));
      return year + "-" + month + "-" + two_digits(dice.between(1, 28));
    }
    case Kind::year:
      return std::to_string(dice.between(1900, 2023));
    case Kind::small:
      return std::to_string(dice.between(1, 40));
    case Kind::hundreds:
      return std::to_string(dice.between(20, 900));
    case Kind::thousands:
      return std::to_string(dice.between(10, 900) * 100);
    case Kind::money:
      return std::to_string(dice.between(4, 400) * 500);
    case Kind::decimal: {
      const std::string whole = std::to_string(dice.between(1, 60));
      return whole + "." + std::to_string(dice.below(10));
    }
  }
  return "";
}

std::string sql_literal(const Column& column, const std::string& value) {
  return is_number(column.kind) ? value : "\"" + value + "\"";
}

Scene::Scene(Dice& dice) : dice_(dice), theme_(&dice.pick(themes())) {
  constexpr std::array<std::string_view, 7> kEndings = {"",       "",         "_list", "_records",
                                                        "_table", "_archive", "_data"};
  table_ = sql_name(theme_->plural) + std::string(dice.pick(kEndings));
  if (dice.chance(40)) table_ += "_" + std::to_string(dice.between(1, 99));
  for (const Column& column : theme_->columns) unused_.push_back(&column);
}

const Column& Scene::use(const Column& column) {
  std::erase(unused_, &column);
  if (std::find(used_.begin(), used_.end(), &column) == used_.end()) used_.push_back(&column);
  return column;
}

const Column& Scene::draw(bool (*fits)(const Column&)) {
  std::vector<const Column*> fitting;
  for (const Column* column : unused_) {
    if (fits(*column)) fitting.push_back(column);
  }
  // Every theme has more columns of each sort than a question draws; any other does if not.
  return use(*dice_.pick(fitting.empty() ? unused_ : fitting));
}

const Column& Scene::any() {
  return draw(anything);
}
const Column& Scene::number() {
  return draw(is_a_number);
}
const Column& Scene::category() {
  return draw(repeats);
}
const Column& Scene::name() {
  return use(theme_->columns.front());
}

Condition Scene::condition(int count) {
  const int64_t style = dice_.below(3);
  Condition all;
  for (int i = 0; i < count; ++i) {
    const Condition one = compare(any(), style, "", dice_);
    // "with a price of 3 and a weight above 4", but "whose price is 3 and whose weight is above 4".
    const size_t spoken = i == 0 || style == 0 ? 0 : one.words.find(' ') + 1;
    all.words += (i == 0 ? "" : " and ") + one.words.substr(spoken);
    all.sql += (i == 0 ? "" : " AND ") + one.sql;
  }
  return all;
}

Condition Scene::parent_condition() {
  const Column& column = dice_.pick(theme_->parent_columns);
  parent_used_.push_back(&column);
  Condition out = compare(column, 1, "T2.", dice_);
  out.words = "of " + with_article(theme_->parent) + " " + out.words;
  return out;
}

std::string Scene::create_table(const std::string& table, std::vector<const Column*> columns, bool with_id,
                                const std::string& reference) {
  dice_.shuffle(columns);
  std::string text = "CREATE TABLE " + table + " (";
  if (with_id) text += "id INTEGER, ";
  for (const Column* column : columns) {
    text += sql_name(column->words) + " " + std::string(sql_type(column->kind)) + ", ";
  }
  text += reference;
  if (text.ends_with(", ")) text.resize(text.size() - 2);
  return text + ")";
}

std::string Scene::schema() {
  std::vector<const Column*> columns = used_;
  const auto others = static_cast<size_t>(dice_.between(1, 3));
  dice_.shuffle(unused_);
  for (size_t i = 0; i < std::min(others, unused_.size()); ++i) columns.push_back(unused_[i]);
  if (parent_used_.empty()) return create_table(table_, columns, false, "");
  const std::string parent = sql_name(theme_->parent);
  std::vector<const Column*> of_parent = parent_used_;
  for (const Column& column : theme_->parent_columns) {
    if (&column != parent_used_.front() && dice_.chance(50)) of_parent.push_back(&column);
  }
  const std::string first = create_table(table_, columns, false, parent + "_id INTEGER");
  return first + "\n" + create_table(sql_name(theme_->parents), of_parent, true, "");
}

}  // namespace gorgon::generator
