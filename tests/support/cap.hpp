// SPDX-License-Identifier: Apache-2.0
#pragma once

// A policy of a user's with a config and statistics: so many calls and no more. No view knows of it.
#include <resilience/call/predicate.hpp>
#include <resilience/environment/policy_core.hpp>
#include <resilience/policy.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace support {

enum class when_full { refuse, warn };
constexpr std::array<std::pair<std::string_view, when_full>, 2> words_of(when_full) {
    return {{{"refuse", when_full::refuse}, {"warn", when_full::warn}}};
}

struct cap_config {
    static constexpr std::string_view policy_kind = "cap";

    std::string name{};
    unsigned max_calls = 10;
    std::optional<resilience::duration> pause{};
    double warn_at = 0.9;
    when_full then = when_full::refuse;
    resilience::predicate counts_if{};
    resilience::labels_type labels{};
};
void fields(cap_config& c, auto&& visit) {
    visit("max_calls", c.max_calls);
    visit("pause", c.pause);
    visit("warn_at", c.warn_at, resilience::field_form::share);
    visit("then", c.then);
    visit("counts_if", c.counts_if);
}
inline std::string validate(const cap_config& c) {
    return c.max_calls > 0 ? "" : "cap_config.max_calls is 0; it must be 1 or more";
}

struct cap_stats {
    std::string name;
    std::uint64_t admitted = 0;
    std::uint64_t rejected = 0;
    double used = 0;
    resilience::duration paused{0};
};
void statistics(const cap_stats& s, auto&& visit) {
    visit("admitted", s.admitted, resilience::counter{.help = "Calls that were let through."});
    visit("rejected", s.rejected, resilience::counter{.help = "Calls beyond the cap."});
    visit("used", s.used, resilience::gauge{.help = "The share of the cap that is used.", .unit = "ratio"});
    visit("paused", s.paused, resilience::counter{.help = "Time that callers were told to pause."});
}

class cap_core final : public resilience::policy_core<cap_core, cap_config> {
public:
    using policy_core::policy_core;

    cap_stats stats() const {
        const std::uint64_t refused = rejected;
        const double used = static_cast<double>(admitted) / config().max_calls;
        return {name(), admitted, refused, used, config().pause.value_or(resilience::duration{0}) * refused};
    }

    std::atomic<std::uint64_t> admitted{0};
    std::atomic<std::uint64_t> rejected{0};
};

class cap : public resilience::policy_handle<cap_core> {
public:
    using policy_handle::policy_handle;

    struct call {
        std::shared_ptr<cap_core> core;

        resilience::admission admit(resilience::call_context& ctx) {
            const cap_config& config = core->config();
            if (++core->admitted <= config.max_calls) return resilience::admission::go();
            --core->admitted;
            ++core->rejected;
            const resilience::failure why(
                resilience::rejection{.code = resilience::errc::limit_exceeded,
                                      .policy = core->label(),
                                      .retry_after = config.pause.value_or(resilience::duration{-1})});
            core->publish(resilience::event_kind::call_rejected, ctx, &why,
                          [&](resilience::event& e) { e.delay = config.pause; });
            return resilience::admission::reject(why);
        }
        resilience::settlement settle(const resilience::attempt_result&, resilience::call_context&) {
            return resilience::settlement::finish();
        }
    };
    call begin(resilience::call_context&) const { return {core_}; }
};

} // namespace support
