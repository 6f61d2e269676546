// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/detail/config_field.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/settings/fields.hpp>
#include <resilience/settings/variable_kinds.hpp>

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#if RESILIENCE_BODIES
#include <resilience/settings/spelling.hpp>

#include <algorithm>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// Returns a variable's value, or null if it is not set; for example std::getenv.
using variable_getter = std::function<const char*(const char*)>;

/// Where variables come from, and how much is made of them.
struct env_options {
    /// Refuses a variable that begins as the config's do (JIRA_RETRY_) and is no setting
    /// (JIRA_RETRY_MAX_ATTEMPT): a misspelt one would have no effect, and nobody would know. Variables of other kinds
    /// of configs are left alone, also where one kind begins with the other (retry, retry_budget), if the program reads
    /// that kind by from_env() anywhere. Other programs' variables, and prefixes that go on as a kind does
    /// (JIRA_RETRY beside JIRA), cannot be told from misspelt ones.
    bool strict = true;
    /// Unset: the environment of the process.
    variable_getter get{};
    /// The names of all variables, for `strict`. Unset: those of the process; with `get`, none.
    detail::config_field<std::function<std::vector<std::string>()>> names{};
};

namespace detail {

/// Reads the variables of one config one after the other, and notes which were set.
class env_variables final : private new_settings {
public:
    env_variables(std::string_view prefix, const variable_kind& kind, const env_options& options);
    void read(const field_list& list);
    /// Throws validate()'s complaint, if there is one, together with the variables that were set.
    void require(std::string complaint) const;

private:
    /// Throws if a variable begins as those of the config do and is none of them.
    void refuse_unknown(const field_list& list) const;
    /// The words about a name that is no setting: that code sets the field, the nearest setting, or all of them.
    std::string advice_on(const std::string& name, const field_list& list) const;
    bool names(const std::string& name, std::string_view field) const;
    /// True if the variable begins as those of a longer kind do, or is a setting of a shorter one.
    bool is_of_another(std::string_view name, const std::vector<variable_kind>& kinds) const;
    std::string start_of(std::string_view word) const;
    std::vector<std::string> all_names() const;
    std::string_view text_of(const std::string& name) const;
    static void append_capitals(std::string& out, std::string_view text);
    std::string assignment(std::string_view text) const;
    /// `off` unsets a field.
    RESILIENCE_FUNCTION const change* find(const setting_place& setting) override;
    RESILIENCE_FUNCTION void refuse(const setting_place& setting, const change& wrong,
                                    const std::string& accepted) override;

    const env_options& options_;
    const std::string prefix_; // with its underscore
    const std::string start_;
    std::string seen_;
    std::vector<std::string> known_;
    change now_; // the variable that is being read
};

} // namespace detail

/// Returns the config with every field replaced whose variable is set: PREFIX_RETRY_MAX_ATTEMPTS=5,
/// PREFIX_RETRY_BASE_DELAY=250ms, ...: the prefix (unless empty), the policy's kind (CIRCUIT for circuit
/// breakers) and the field's name. Name, labels, callables and budgets have no variables. Durations need a
/// unit, shares are 0.5 or 50%, enums go by their names, `off` unsets an optional field. Blanks and line ends
/// around a value do not count, and an empty variable is an unset one. A user's own config is read likewise if its
/// fields are described. Throws std::invalid_argument that names the variable, its value and the accepted
/// values, also if the config as a whole is not valid, or if a variable is misspelt: see env_options.
///
/// Another thread must not change the environment of the process (setenv) meanwhile: call it early.
template <described Config>
Config from_env(std::string_view prefix, Config config, const env_options& options = {}) {
    (void)detail::known_kind_of<Config>; // is made before main(), in no order: a config may be read before it
    detail::env_variables variables(prefix, detail::variable_kind_of<Config>(), options);
    field_list list;
    fields(config, list);
    variables.read(list);
    variables.require(detail::complaint_about(config));
    return config;
}

/// Reads the variables that `get` knows. Misspelt ones cannot be seen.
template <described Config, class Get>
    requires std::convertible_to<const Get&, variable_getter>
Config from_env(std::string_view prefix, Config config, const Get& get) {
    return from_env(prefix, std::move(config), env_options{.get = get});
}

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION detail::env_variables::env_variables(std::string_view prefix,
                                                                         const variable_kind& kind,
                                                                         const env_options& options)
    : options_(options), prefix_(prefix.empty() ? std::string() : std::string(prefix) + "_"),
      start_(start_of(kind.word)) {}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string detail::env_variables::start_of(std::string_view word) const {
    std::string start = prefix_;
    append_capitals(start, word);
    return start += '_';
}
RESILIENCE_COLD RESILIENCE_FUNCTION void detail::env_variables::read(const field_list& list) {
    write_settings(list, *this);
    if (options_.strict) refuse_unknown(list);
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::vector<std::string> detail::env_variables::all_names() const {
    if (options_.names) return options_.names();
    std::vector<std::string> all;
    if (options_.get) return all;
    for (const char* const* each = process_variables(); each != nullptr && *each != nullptr; ++each) {
        const std::string_view assigned(*each);
        all.emplace_back(assigned.substr(0, assigned.find('=')));
    }
    return all;
}
RESILIENCE_COLD RESILIENCE_FUNCTION bool detail::env_variables::is_of_another(
    std::string_view name, const std::vector<variable_kind>& kinds) const {
    return std::ranges::any_of(kinds, [&](const variable_kind& kind) {
        const std::string start = start_of(kind.word);
        if (!name.starts_with(start)) return false;
        if (start.size() > start_.size()) return true;
        return std::ranges::any_of(kind.settings(), [&](const setting& each) {
            std::string other = start;
            append_capitals(other, each.name);
            return other == name;
        });
    });
}
RESILIENCE_COLD RESILIENCE_FUNCTION void detail::env_variables::refuse_unknown(const field_list& list) const {
    const std::vector<variable_kind> kinds = known_variable_kind::all();
    for (const std::string& name : all_names()) {
        if (!name.starts_with(start_) || std::ranges::find(known_, name) != known_.end()) continue;
        if (text_of(name).empty() || is_of_another(name, kinds)) continue;
        raise(std::invalid_argument("there is no setting for the variable " + name + advice_on(name, list)));
    }
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string detail::env_variables::advice_on(
    const std::string& name, const field_list& list) const {
    std::string_view in_code;
    for (const std::string_view each : {"name", "labels"})
        if (names(name, each)) in_code = each;
    for (const field& f : list)
        if (!f.is_setting() && names(name, f.name)) in_code = f.name;
    if (!in_code.empty()) return "; " + std::string(in_code) + " is set in code, no variable can set it";
    if (known_.empty()) return {};
    const auto nearest = std::ranges::min_element(
        known_, {}, [&](const std::string& each) { return edits_between(name, each); });
    const std::size_t longer = std::max(name.size(), nearest->size()) - start_.size();
    if (edits_between(name, *nearest) * 3 <= longer) return "; the nearest is " + *nearest;
    std::string all = "; behind " + start_ + " there may be ";
    for (const std::string& each : known_)
        all.append(&each == &known_.front() ? "" : ", ").append(each, start_.size());
    return all;
}
RESILIENCE_COLD RESILIENCE_FUNCTION bool detail::env_variables::names(const std::string& name,
                                                                      std::string_view field) const {
    std::string its_variable = start_;
    append_capitals(its_variable, field);
    return name == its_variable;
}
/// Without the blanks around it, as secrets and compose files have them. Empty if the variable is not set.
RESILIENCE_COLD RESILIENCE_FUNCTION std::string_view detail::env_variables::text_of(
    const std::string& name) const {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): said of from_env()
    const char* const value = options_.get ? options_.get(name.c_str()) : std::getenv(name.c_str());
    std::string_view text(value != nullptr ? value : "");
    constexpr std::string_view blanks = " \t\r\n\v\f";
    text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
    return text.substr(0, text.find_last_not_of(blanks) + 1);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void detail::env_variables::require(std::string complaint) const {
    if (!complaint.empty() && !seen_.empty())
        complaint.append(" (from the environment: ").append(seen_).append(")");
    require_valid(complaint);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void detail::env_variables::append_capitals(std::string& out,
                                                                                std::string_view text) {
    for (const char c : text) out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::string detail::env_variables::assignment(
    std::string_view text) const {
    constexpr std::size_t shown = 64; // bytes: the value may be of any length
    return now_.name + "='" + std::string(text.substr(0, shown)) + "'";
}
RESILIENCE_FUNCTION const change* detail::env_variables::find(const setting_place& setting) {
    now_.name = start_;
    append_capitals(now_.name, setting.name);
    known_.push_back(now_.name);
    const std::string_view text = text_of(now_.name);
    if (text.empty()) return nullptr;
    seen_.append(seen_.empty() ? "" : ", ").append(assignment(text));
    if (setting.can_be_unset && text == "off") now_.text.reset();
    else now_.text = text;
    return &now_;
}
RESILIENCE_FUNCTION void detail::env_variables::refuse(const setting_place& setting, const change& wrong,
                                                       const std::string& accepted) {
    raise(std::invalid_argument(assignment(wrong.text.value_or("off")) + ": it must be " + accepted +
                                (setting.can_be_unset ? ", or off" : "")));
}
#endif

}} // namespace resilience::RESILIENCE_ABI
