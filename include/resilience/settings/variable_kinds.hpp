// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/immortal.hpp>
#include <resilience/settings/fields.hpp>

#include <concepts>
#include <string_view>
#include <vector>

#if RESILIENCE_BODIES
#include <resilience/abandoning_timeout/config.hpp>
#include <resilience/circuit_breaker/config.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/retry/config.hpp>
#include <resilience/timeout/config.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The word of a config's variables, behind the prefix: the kind of its policy, unless the config has
/// another.
template <class Config>
constexpr std::string_view variables_of() {
    if constexpr (requires { Config::variables; }) return Config::variables;
    else return Config::policy_kind;
}

/// A kind of config that variables are read into.
struct variable_kind {
    std::string_view word;
    std::vector<setting> (*settings)();

    friend bool operator==(const variable_kind&, const variable_kind&) = default;
};

template <class Config>
constexpr variable_kind variable_kind_of() {
    return {variables_of<Config>(), [] {
                if constexpr (std::default_initializable<Config>) return settings_of(Config{});
                else return std::vector<setting>{}; // only its word is known
            }};
}

/// All kinds of configs that the program reads from variables: those of the library, and each with which it
/// instantiates from_env(). A kind is known from the time on when the static objects of its part of the program are
/// made, before main() or in dlopen(), so that the order of reading does not matter.
class RESILIENCE_VISIBLE known_variable_kind {
public:
    explicit known_variable_kind(const variable_kind& kind);
    known_variable_kind(const known_variable_kind&) = delete;
    known_variable_kind& operator=(const known_variable_kind&) = delete;
    ~known_variable_kind(); // at exit, and in dlclose()

    static std::vector<variable_kind> all();

private:
    struct list;
    static list& known();

    const variable_kind kind_;
};

template <class Config>
inline const known_variable_kind known_kind_of{variable_kind_of<Config>()};

#if RESILIENCE_BODIES
struct known_variable_kind::list {
    detail::mutex mutex;
    std::vector<variable_kind> kinds; // guarded by mutex
};
RESILIENCE_COLD RESILIENCE_FUNCTION known_variable_kind::list& known_variable_kind::known() {
    static constinit detail::immortal<list> all;
    return all.get();
}
RESILIENCE_COLD RESILIENCE_FUNCTION known_variable_kind::known_variable_kind(const variable_kind& kind)
    : kind_(kind) {
    list& others = known();
    const lock_guard lock(others.mutex);
    others.kinds.push_back(kind);
}
RESILIENCE_COLD RESILIENCE_FUNCTION known_variable_kind::~known_variable_kind() {
    list& others = known();
    const lock_guard lock(others.mutex);
    for (auto at = others.kinds.begin(); at != others.kinds.end(); ++at) {
        if (!(*at == kind_)) continue;
        others.kinds.erase(at);
        return;
    }
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::vector<variable_kind> known_variable_kind::all() {
    std::vector<variable_kind> all{
        variable_kind_of<retry_config>(), variable_kind_of<circuit_breaker_config>(),
        variable_kind_of<timeout_config>(), variable_kind_of<abandoning_timeout_config>()};
    list& others = known();
    const lock_guard lock(others.mutex);
    all.insert(all.end(), others.kinds.begin(), others.kinds.end());
    return all;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
