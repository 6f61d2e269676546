// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/environment/labels.hpp>
#include <resilience/environment/statistics.hpp>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#if RESILIENCE_BODIES
#include <resilience/detail/complaint.hpp>
#include <resilience/mechanism/gcra.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// The rule by which a rate limiter gives its permits.
enum class limiter : std::uint8_t {
    token_bucket,   ///< the rate, and bursts: unused permits are kept, as many as a burst
    sliding_window, ///< never more than `permits` in any window of `per`
    smooth,         ///< one after the other, evenly spaced
};
constexpr std::array<std::pair<std::string_view, limiter>, 3> words_of(limiter) {
    return {{{"token_bucket", limiter::token_bucket},
             {"sliding_window", limiter::sliding_window},
             {"smooth", limiter::smooth}}};
}

/// The use that rate_limiter::observe() may make of the server's word.
enum class server_sync : std::uint8_t {
    shrink_only, ///< fewer permits, or a pause
    follow,      ///< also more permits, up to a burst
    off,         ///< nothing
};
constexpr std::array<std::pair<std::string_view, server_sync>, 3> words_of(server_sync) {
    return {{{"shrink_only", server_sync::shrink_only},
             {"follow", server_sync::follow},
             {"off", server_sync::off}}};
}

/// Configures a rate_limiter.
struct rate_limiter_config {
    static constexpr std::string_view policy_kind = "rate_limiter";

    /// Names the policy in its registry, in events and in errors; empty: private and unlisted.
    std::string name{};
    /// So many in each `per`, in the long run. From 1; there is no rate that suits all.
    std::uint64_t permits = 0;
    /// More than 0.
    duration per = std::chrono::seconds{1};
    /// Of token_bucket: permits that are given at once at most, from 1. Unset: as many as `permits`.
    std::optional<std::uint64_t> burst{};
    limiter kind = limiter::token_bucket;
    /// How long a call waits for its turn at most. The call's deadline and its stop token end the wait, too. 0 by default:
    /// a limiter that makes wait without being asked hides from its callers that they are too fast.
    duration max_wait = std::chrono::seconds{0};
    /// True: a call takes call_options::cost permits, such as the tokens of a language model. False: one.
    bool weighted = false;
    resilience::server_sync server_sync = resilience::server_sync::shrink_only;
    /// The longest pause that the server can ask for by observe(). 0: none.
    duration max_server_pause = std::chrono::minutes{5};
    /// Shown on metrics, events and snapshots; at most 8, constant.
    labels_type labels{};
    /// True: it decides, counts and tells what it would have refused, and lets all calls pass at once.
    bool dry_run = false;
};

void fields(rate_limiter_config& c, auto&& visit) {
    visit("permits", c.permits);
    visit("per", c.per);
    visit("burst", c.burst);
    visit("kind", c.kind);
    visit("max_wait", c.max_wait);
    visit("weighted", c.weighted);
    visit("server_sync", c.server_sync);
    visit("max_server_pause", c.max_server_pause);
    visit("dry_run", c.dry_run);
}

/// A complaint that names field, value and range; empty if the config is valid.
std::string validate(const rate_limiter_config& c);

/// A server's word about its own limit, from the headers of an answer; see http/rate_limit_headers.hpp.
struct server_limit {
    /// Permits that are left until the reset.
    std::optional<std::uint64_t> remaining{};
    /// The time until all are there again.
    std::optional<duration> reset_after{};
    /// The time until which nothing may be sent: Retry-After.
    std::optional<duration> retry_after{};
};

/// A rate limiter now, and its totals since its creation.
struct rate_limiter_stats {
    std::string name;
    /// Permits that a call would get at once.
    std::uint64_t available = 0;
    /// Calls that wait for their turn.
    std::uint64_t waiting = 0;
    /// Attempts that got their permits; calls of try_acquire() and reserve() that did.
    std::uint64_t admitted = 0;
    /// Attempts that were refused, for any cause but their caller's stop request.
    std::uint64_t rejected = 0;
    /// Of these: those that cost more than a burst.
    std::uint64_t rejected_cost = 0;
    /// Of these: those that were refused while the server's pause lasted.
    std::uint64_t rejected_paused = 0;
    /// Attempts that did not run since their call was stopped, or destroyed while it waited; reservations that were cancelled.
    std::uint64_t cancelled = 0;
    /// Of all that were admitted.
    duration total_wait{0};
    /// The end of the pause that the server asked for; empty if there is none.
    std::optional<std::chrono::system_clock::time_point> server_paused_until{};
};

void statistics(const rate_limiter_stats& s, auto&& visit) {
    visit("available", s.available, gauge{"Permits that are there.", "ratelimiter_available_permissions"});
    visit("waiting", s.waiting, gauge{"Calls that wait for their turn.", "ratelimiter_waiting_threads"});
    visit("admitted", s.admitted, counter{"Attempts that got their permits."});
    visit("rejected", s.rejected, counter{"Attempts that were refused."});
    visit("rejected_cost", s.rejected_cost, counter{"Attempts that cost more than a burst."});
    visit("rejected_paused", s.rejected_paused,
          counter{"Attempts that were refused while the server's pause lasted."});
    visit("cancelled", s.cancelled,
          counter{"Attempts whose call was stopped, or destroyed while it waited; reservations that were "
                  "cancelled."});
    visit("total_wait", s.total_wait, counter{"The time that admitted calls have waited."});
    visit("server_paused_until", s.server_paused_until,
          gauge{"The end of the pause that the server asked for."});
}

namespace detail {

/// The permits that can be taken at once.
constexpr std::uint64_t burst_of(const rate_limiter_config& c) noexcept {
    return c.kind == limiter::smooth           ? 1
           : c.kind == limiter::sliding_window ? c.permits
                                               : c.burst.value_or(c.permits);
}

} // namespace detail

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::string validate(const rate_limiter_config& c) {
    using detail::complaint;
    constexpr std::uint64_t most = 1'000'000'000'000'000;
    if (c.permits == 0 || c.permits > most)
        return complaint("rate_limiter_config.permits", c.permits, "from 1 to 10^15");
    if (c.per <= duration{0}) return complaint("rate_limiter_config.per", c.per, "more than 0");
    if (c.burst && (*c.burst == 0 || *c.burst > most))
        return complaint("rate_limiter_config.burst", *c.burst, "from 1 to 10^15");
    if (c.kind > limiter::smooth)
        return complaint("rate_limiter_config.kind", static_cast<unsigned>(c.kind),
                         "one of token_bucket, sliding_window, smooth");
    if (c.burst && c.kind != limiter::token_bucket)
        return complaint("rate_limiter_config.burst", *c.burst, "unset, unless kind is token_bucket");
    if (c.max_wait < duration{0}) return complaint("rate_limiter_config.max_wait", c.max_wait, "0 or more");
    if (c.weighted && c.kind == limiter::smooth)
        return complaint("rate_limiter_config.weighted", "true", "false if kind is smooth, whose burst is 1");
    if (c.server_sync > server_sync::off)
        return complaint("rate_limiter_config.server_sync", static_cast<unsigned>(c.server_sync),
                         "one of shrink_only, follow, off");
    if (c.max_server_pause < duration{0})
        return complaint("rate_limiter_config.max_server_pause", c.max_server_pause, "0 or more");
    if (c.kind == limiter::sliding_window) return detail::validate_labels("rate_limiter_config", c.labels);
    switch (detail::gcra(c.permits, c.per, detail::burst_of(c)).fits()) {
    case detail::gcra::fit::exactly:
    case detail::gcra::fit::nearly: break;
    case detail::gcra::fit::too_long:
        return complaint("rate_limiter_config.per", c.per,
                         "a time in which a burst comes back within 18 years");
    case detail::gcra::fit::too_fine:
        return complaint("rate_limiter_config.permits", c.permits,
                         "fewer, or a round number: so many cannot be counted exactly");
    }
    return detail::validate_labels("rate_limiter_config", c.labels);
}
#endif

}} // namespace resilience::RESILIENCE_ABI
