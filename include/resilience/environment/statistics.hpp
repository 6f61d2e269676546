// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/mechanism/circuit_state.hpp>

#include <chrono>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

// The description of a policy's statistics is a function beside their struct, found by argument-dependent
// lookup:
//
//     void statistics(const timeout_stats& s, auto&& visit) {
//         visit("timed_out", s.timed_out, counter{.help = "Attempts that came late."});
//         ...
//     }
//
// It lists all of them in their order, except the policy's name. JSON, Prometheus, the dashboard and the
// check of the docs read it. A value is a number, a duration (shown in seconds), a moment of the wall clock (shown in
// seconds since 1970), a circuit's state, or a std::optional of these, which is left out while empty. A negative number that is no duration means: not
// known.
//
// Two names have a metric that all kinds of policies share: `rejected` (attempts that the policy refused) and
// `predicate_errors` (the user's code threw).

namespace resilience { inline namespace RESILIENCE_ABI {

/// Stands for a family: the statistic has no metric.
inline constexpr std::string_view no_metric = "-";
/// Stands for a name: the statistic is only a metric.
inline constexpr std::string_view only_metric{};

/// Describes a statistic that only grows.
struct counter {
    std::string_view help;
    /// The family of its metric, without prefix. Empty: <kind>_<name>_<unit>_total. Statistics with equal
    /// family and `as` are added up.
    std::string_view family{};
    /// The value of the label `kind`, for a family of several statistics.
    std::string_view as{};
    /// A word such as bytes, if it is no number of events. Durations are in seconds.
    std::string_view unit{};
};
/// Describes a statistic that grows and falls.
struct gauge {
    std::string_view help;
    /// Empty: <kind>_<name>_<unit>.
    std::string_view family{};
    std::string_view as{};
    /// `ratio` for a share from 0 to 1.
    std::string_view unit{};
};

enum class statistic_kind { undescribed, counter, gauge };

/// A number, share or word of a policy's snapshot.
struct statistic {
    std::string_view name;
    std::variant<std::uint64_t, double, std::string> value;
    statistic_kind kind = statistic_kind::undescribed;
    // These four are as in counter and gauge.
    std::string_view help{};
    std::string_view family{};
    std::string_view as{};
    std::string_view unit{};
};

namespace detail {

/// Collects statistics, as a visitor of statistics().
class statistic_list {
public:
    explicit statistic_list(std::vector<statistic>& into) noexcept : all_(&into) {}

    template <class T>
    void operator()(std::string_view name, const T& value, const counter& c) {
        set(add(name, c), value);
    }
    template <class T>
    void operator()(std::string_view name, const T& value, const gauge& g) {
        set(add(name, g), value);
    }
    template <class T>
    void operator()(std::string_view name, const std::optional<T>& value, const counter& c) {
        if (value) set(add(name, c), *value);
    }
    template <class T>
    void operator()(std::string_view name, const std::optional<T>& value, const gauge& g) {
        if (value) set(add(name, g), *value);
    }

private:
    statistic& add(std::string_view name, const counter& c);
    statistic& add(std::string_view name, const gauge& g);
    static void set(statistic& s, std::uint64_t value);
    static void set(statistic& s, double value);
    static void set(statistic& s, duration value);
    static void set(statistic& s, std::chrono::system_clock::time_point value);
    static void set(statistic& s, circuit_state value);
    static void set(statistic& s, const std::string& value);
    template <std::unsigned_integral T>
    static void set(statistic& s, T value) {
        set(s, std::uint64_t{value});
    }

    std::vector<statistic>* all_;
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION statistic& statistic_list::add(std::string_view name, const counter& c) {
    all_->push_back({name, {}, statistic_kind::counter, c.help, c.family, c.as, c.unit});
    return all_->back();
}
RESILIENCE_COLD RESILIENCE_FUNCTION statistic& statistic_list::add(std::string_view name, const gauge& g) {
    all_->push_back({name, {}, statistic_kind::gauge, g.help, g.family, g.as, g.unit});
    return all_->back();
}
RESILIENCE_COLD RESILIENCE_FUNCTION void statistic_list::set(statistic& s, std::uint64_t value) {
    s.value = value;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void statistic_list::set(statistic& s, double value) { s.value = value; }
RESILIENCE_COLD RESILIENCE_FUNCTION void statistic_list::set(statistic& s, duration value) {
    s.value = std::chrono::duration<double>(value).count();
    s.unit = "seconds";
}
RESILIENCE_COLD RESILIENCE_FUNCTION void statistic_list::set(statistic& s,
                                                             std::chrono::system_clock::time_point value) {
    s.value = std::chrono::duration<double>(value.time_since_epoch()).count();
    s.unit = "timestamp_seconds";
}
RESILIENCE_COLD RESILIENCE_FUNCTION void statistic_list::set(statistic& s, circuit_state value) {
    s.value = std::string(to_string(value));
}
RESILIENCE_COLD RESILIENCE_FUNCTION void statistic_list::set(statistic& s, const std::string& value) {
    s.value = value;
}
#endif

} // namespace detail
}} // namespace resilience::RESILIENCE_ABI
