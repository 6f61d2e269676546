// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/settings/fields.hpp>

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Looks up a variable: its value, or null if it is not set. What std::getenv is.
using variable_getter = std::function<const char*(const char*)>;

namespace detail {

/// What the variables of one config have in front: the prefix, and the kind of policy in capitals.
template <class Config>
constexpr std::string_view variables_of() {
    if constexpr (requires { Config::variables; }) return Config::variables;
    else return Config::policy_kind;
}

/// The variables of one config: reads them one after the other, and knows which were set.
class env_variables final : private new_settings {
public:
    env_variables(std::string_view prefix, std::string_view policy, const variable_getter& get) : get_(get) {
        if (!prefix.empty()) start_.append(prefix).append("_");
        append_capitals(start_, policy);
        start_ += '_';
    }
    void read(const field_list& list) { write_settings(list, *this); }
    /// What validate() says of the whole becomes an exception that tells what came from the environment.
    void require(std::string complaint) const {
        if (!complaint.empty() && !seen_.empty())
            complaint.append(" (from the environment: ").append(seen_).append(")");
        require_valid(complaint);
    }

private:
    static void append_capitals(std::string& out, std::string_view text) {
        for (const char c : text) out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
    std::string assignment(std::string_view text) const {
        constexpr std::size_t shown = 64; // of a value that may be anything
        return now_.name + "='" + std::string(text.substr(0, shown)) + "'";
    }
    /// `off` unsets a field.
    const change* find(std::string_view setting, bool can_be_unset) override {
        now_.name = start_;
        append_capitals(now_.name, setting);
        const char* const text = get_(now_.name.c_str());
        if (text == nullptr) return nullptr;
        seen_.append(seen_.empty() ? "" : ", ").append(assignment(text));
        if (can_be_unset && std::string_view(text) == "off") now_.text.reset();
        else now_.text = text;
        return &now_;
    }
    void refuse(const change& wrong, const std::string& accepted, bool can_be_unset) override {
        raise(std::invalid_argument(assignment(wrong.text.value_or("off")) + ": it must be " + accepted +
                                    (can_be_unset ? ", or off" : "")));
    }

    const variable_getter& get_;
    std::string start_;
    std::string seen_;
    change now_; // the variable that is read
};

} // namespace detail

/// The config with those fields replaced whose variables are set: PREFIX_RETRY_MAX_ATTEMPTS=5,
/// PREFIX_RETRY_BASE_DELAY=250ms, ... for each field but the name (which is an identity, not a setting), the labels,
/// callables and budgets; a variable is the policy's kind and the field's name in capitals. A circuit's begin with
/// PREFIX_CIRCUIT. Durations need a unit, shares are 0.5 or 50%, enums go by their names, `off` unsets an optional field;
/// no blanks. A config of yours is read likewise, if its fields are described.
/// Throws std::invalid_argument that names the variable, its value and what is accepted, also if the
/// config as a whole is not valid. An empty prefix: RETRY_MAX_ATTEMPTS.
template <described Config>
Config from_env(std::string_view prefix, Config config, const variable_getter& get) {
    detail::env_variables variables(prefix, detail::variables_of<Config>(), get);
    field_list list;
    fields(config, list);
    variables.read(list);
    variables.require(detail::complaint_about(config));
    return config;
}

/// From the environment of the process. Not while another thread changes that (setenv): call it early.
template <described Config>
Config from_env(std::string_view prefix, Config config) {
    return from_env(prefix, std::move(config), variable_getter([](const char* name) -> const char* {
                        return std::getenv(name); // NOLINT(concurrency-mt-unsafe): said above
                    }));
}

}} // namespace resilience::RESILIENCE_ABI
