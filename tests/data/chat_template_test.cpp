// Rendered chats and the assistant's bytes against transformers (tests/oracle/chat_templates.py).
#include "data/chat_template.h"

#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace gorgon {
namespace {

using nlohmann::json;
using Ranges = std::vector<std::pair<int64_t, int64_t>>;

json read_golden(const std::string& name) {
  std::ifstream file(std::string(GORGON_TEST_DATA) + "/chat/" + name);
  EXPECT_TRUE(file.good()) << name;
  return json::parse(file);
}

std::vector<Message> messages_of(const json& list) {
  std::vector<Message> messages;
  for (const json& each : list) messages.push_back({each.at("role"), each.at("content")});
  return messages;
}

ChatTemplate make(const std::string& source) {
  return {source, "<s>", "</s>", "model"};
}

Error error_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {ExitCode::internal, ""};
}

TEST(ChatTemplate, TextsAndAnswersAsTransformersHasThem) {
  const json rows = read_golden("templates.json");
  EXPECT_GE(rows.size(), 8u);
  for (const json& row : rows) {
    // The model's own template, whose answers are found turn by turn, and one that marks them itself.
    for (const char* key : {"template", "marked"}) {
      const ChatTemplate chat(row.at(key).get<std::string>(), row.at("bos"), row.at("eos"), "model");
      for (const json& each : row.at("cases")) {
        SCOPED_TRACE(row.at("name").get<std::string>() + " " + key + " " + each.at("messages").dump());
        const std::vector<Message> messages = messages_of(each.at("messages"));
        if (each.contains("error")) {
          const Error error = error_of([&] { chat.render(messages, false); });
          EXPECT_EQ(error.code(), ExitCode::data);
          EXPECT_NE(std::string(error.what()).find(each.at("error").get<std::string>().substr(0, 40)),
                    std::string::npos)
              << error.what();
          continue;
        }
        EXPECT_EQ(chat.render(messages, false), each.at("text"));
        EXPECT_EQ(chat.render(messages, true), each.at("prompt"));
        const RenderedChat rendered = chat.render_chat(messages);
        EXPECT_EQ(rendered.text, each.at("text"));
        EXPECT_EQ(rendered.assistant, each.at("assistant").get<Ranges>());
      }
    }
  }
}

TEST(Jinja, SameTextsAsJinja2) {
  const json rows = read_golden("jinja.json");
  EXPECT_GE(rows.size(), 40u);
  for (const json& row : rows) {
    const auto source = row.at("template").get<std::string>();
    SCOPED_TRACE(source);
    EXPECT_EQ(make(source).render({{"user", " Hello you"}, {"assistant", "Hi"}}, false), row.at("text"));
  }
}

TEST(Jinja, BeyondTheSubsetIsModelErrorThatNamesIt) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"{% macro f() %}{% endmacro %}", "macro"},
      {"{{ messages|selectattr('role') }}", "selectattr"},
      {"{{ 'a' is callable }}", "callable"},
      {"{{ messages.append(1) }}", "append"},
      {"{{ lipsum() }}", "lipsum"},
      {"{{ 2 ** 3 }}", "**"},
      {"{{ 'a }}", "end of the template"},
      {"\n\n{% if x %}", "end of the template"},
      {"\n\n{% if x %}", "line 3"},
      {"{% for x in y %}{% endif %}", "endif"},
      {"{{ }}", "expression"},
      {"{{ a b }}", "'b'"},
      {"{{ a[ }}", "']'"},
      {"{# never closed", "#}"},
      {"{{ 99999999999999999999 }}", "64 bits"},
      {"{{ '\\ud800' }}", "ud800"},
      {"{% break %}", "break"},
      {"{{ $ }}", "$"},
      {"{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}", "nesting"},
      {"{{ " + std::string(5000, '-') + "1 }}", "nesting"},
  };
  for (const auto& [source, part] : rows) {
    SCOPED_TRACE(source.substr(0, 60));
    const Error error = error_of([&] { make(source); });
    EXPECT_EQ(error.code(), ExitCode::model);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

TEST(Jinja, ValuesThatDoNotFitAreDataErrors) {
  for (const char* source : {"{{ nothing.role }}",
                             "{{ nothing['role'] }}",
                             "{{ 'a' + 1 }}",
                             "{{ 'a' + none }}",
                             "{{ 1 // 0 }}",
                             "{{ 9223372036854775807 + 1 }}",
                             "{{ -9223372036854775807 * 2 }}",
                             "{{ [1] }}",
                             "{{ {} }}",
                             "{{ 1 < 'a' }}",
                             "{{ 1 in 2 }}",
                             "{% for x in 5 %}{% endfor %}",
                             "{% for a, b in [[1]] %}{% endfor %}",
                             "{{ [1][::0] }}",
                             "{{ strftime_now('%Y') }}",
                             "{% set x.y = 1 %}",
                             "{{ ('x' * 10000000 * 10) }}",
                             "{{ range(1, 10, 0) }}",
                             "{{ range(1000000) }}",
                             "{{ nothing|tojson }}",
                             "{{ 'a'.split('') }}",
                             "{{ messages[0].content() }}"}) {
    SCOPED_TRACE(source);
    try {
      make(source).render({{"user", "x"}}, false);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ExitCode::data ||
                  std::string(source).find("content()") != std::string::npos);
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
  }
}

TEST(Jinja, EndlessTemplatesAreStopped) {
  const char* nested =
      "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% "
      "endfor %}{% endfor %}";
  EXPECT_EQ(error_of([&] { make(nested).render({}, false); }).code(), ExitCode::model);
  const char* doubling =
      "{% set ns = namespace(x='aaaaaaaa') %}{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor "
      "%}";
  EXPECT_EQ(error_of([&] { make(doubling).render({}, false); }).code(), ExitCode::data);
  const char* deep =
      "{% set ns = namespace(x=[]) %}{% for a in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}";
  EXPECT_EQ(error_of([&] { make(deep).render({}, false); }).code(), ExitCode::data);
  const char* cycle = "{% set ns = namespace() %}{% set ns.me = ns %}";
  EXPECT_EQ(error_of([&] { make(cycle).render({}, false); }).code(), ExitCode::data);
}

TEST(ChatTemplate, AnswerThatTheTemplateChangesIsRefused) {
  // Upper case: neither the answer nor a marker in its place can be found.
  const ChatTemplate chat = make(
      "{% for m in messages %}{{ messages|length }}{{ m.role }}:{{ m.content.upper()[1:] }}\n{% endfor %}");
  const Error error = error_of([&] {
    chat.render_chat({{"user", "a"}, {"assistant", "bc"}, {"user", "d"}});
  });
  EXPECT_EQ(error.code(), ExitCode::data);
  EXPECT_NE(std::string(error.what()).find("message 2"), std::string::npos) << error.what();
}

}  // namespace
}  // namespace gorgon
