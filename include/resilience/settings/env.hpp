// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/settings/fields.hpp>

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Returns a variable's value, or null if it is not set; for example std::getenv.
using variable_getter = std::function<const char*(const char*)>;

namespace detail {

/// The word of a config's variables, behind the prefix: the kind of its policy, unless the config has
/// another.
template <class Config>
constexpr std::string_view variables_of() {
    if constexpr (requires { Config::variables; }) return Config::variables;
    else return Config::policy_kind;
}

/// Reads the variables of one config one after the other, and notes which were set.
class env_variables final : private new_settings {
public:
    env_variables(std::string_view prefix, std::string_view policy, const variable_getter& get);
    void read(const field_list& list);
    /// Throws validate()'s complaint, if there is one, together with the variables that were set.
    void require(std::string complaint) const;

private:
    static void append_capitals(std::string& out, std::string_view text);
    std::string assignment(std::string_view text) const;
    /// `off` unsets a field.
    RESILIENCE_FUNCTION const change* find(const setting_place& setting) override;
    RESILIENCE_FUNCTION void refuse(const setting_place& setting, const change& wrong,
                                    const std::string& accepted) override;

    const variable_getter& get_;
    std::string start_;
    std::string seen_;
    change now_; // the variable that is being read
};

} // namespace detail

/// Returns the config with every field replaced whose variable is set: PREFIX_RETRY_MAX_ATTEMPTS=5,
/// PREFIX_RETRY_BASE_DELAY=250ms, ...: the prefix (unless empty), the policy's kind (CIRCUIT for circuit
/// breakers) and the field's name. Name, labels, callables and budgets have no variables. Durations need a
/// unit, shares are 0.5 or 50%, enums go by their names, `off` unsets an optional field; blanks are not
/// allowed. A user's own config is read likewise if its fields are described. Throws std::invalid_argument
/// that names the variable, its value and the accepted values, also if the config as a whole is not valid.
template <described Config>
Config from_env(std::string_view prefix, Config config, const variable_getter& get) {
    detail::env_variables variables(prefix, detail::variables_of<Config>(), get);
    field_list list;
    fields(config, list);
    variables.read(list);
    variables.require(detail::complaint_about(config));
    return config;
}

/// Reads the environment of the process. Another thread must not change that (setenv) meanwhile: call it
/// early.
template <described Config>
Config from_env(std::string_view prefix, Config config) {
    return from_env(prefix, std::move(config), variable_getter([](const char* name) -> const char* {
                        return std::getenv(name); // NOLINT(concurrency-mt-unsafe): said above
                    }));
}

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION detail::env_variables::env_variables(std::string_view prefix, std::string_view policy,
                                                         const variable_getter& get)
    : get_(get) {
    if (!prefix.empty()) start_.append(prefix).append("_");
    append_capitals(start_, policy);
    start_ += '_';
}
RESILIENCE_FUNCTION void detail::env_variables::read(const field_list& list) { write_settings(list, *this); }
RESILIENCE_FUNCTION void detail::env_variables::require(std::string complaint) const {
    if (!complaint.empty() && !seen_.empty())
        complaint.append(" (from the environment: ").append(seen_).append(")");
    require_valid(complaint);
}
RESILIENCE_FUNCTION void detail::env_variables::append_capitals(std::string& out, std::string_view text) {
    for (const char c : text) out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}
RESILIENCE_FUNCTION std::string detail::env_variables::assignment(std::string_view text) const {
    constexpr std::size_t shown = 64; // bytes: the value may be of any length
    return now_.name + "='" + std::string(text.substr(0, shown)) + "'";
}
RESILIENCE_FUNCTION const change* detail::env_variables::find(const setting_place& setting) {
    now_.name = start_;
    append_capitals(now_.name, setting.name);
    const char* const text = get_(now_.name.c_str());
    if (text == nullptr) return nullptr;
    seen_.append(seen_.empty() ? "" : ", ").append(assignment(text));
    if (setting.can_be_unset && std::string_view(text) == "off") now_.text.reset();
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
