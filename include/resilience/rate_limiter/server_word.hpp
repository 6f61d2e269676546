// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/rate_limiter/config.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A server's own limit, as far as its answers have told. Pure; guarded by the limiter's mutex.
class server_word {
public:
    /// Nothing may be sent before; time_point::min() if the server has asked for no pause.
    time_point paused_until() const noexcept { return paused_until_; }
    bool is_paused(time_point now) const noexcept { return now < paused_until_; }

    /// The pause that an answer asks for. Not all clients of a server come back at the same moment: up to a tenth more, by
    /// `share`, from 0 to 1.
    static duration pause_in(const server_limit& answer, double share, duration longest) noexcept {
        duration pause = answer.retry_after.value_or(duration{0});
        if (answer.remaining == 0U) pause = std::max(pause, answer.reset_after.value_or(duration{0}));
        const double spread = static_cast<double>(std::max(pause, duration{0}).count()) * (1 + share / 10);
        return spread < static_cast<double>(longest.count()) ? duration{static_cast<duration::rep>(spread)}
                                                             : longest;
    }
    void pause(time_point now, duration length) noexcept {
        paused_until_ =
            length > duration{0} ? std::max(paused_until_, saturating_add(now, length)) : paused_until_;
    }
    /// The permits that are left by an answer. Empty if it does not say, or was overtaken by another: it is of an earlier
    /// window, or has more left in the same.
    std::optional<std::uint64_t> left(const server_limit& answer, time_point now) noexcept {
        if (!answer.remaining || !answer.reset_after) return answer.remaining;
        constexpr duration precision = std::chrono::seconds{1}; // of such headers
        const time_point reset = saturating_add(now, *answer.reset_after);
        if (saturating_add(reset, precision) < reset_) return std::nullopt;
        const bool is_same_window = reset <= saturating_add(reset_, precision);
        if (is_same_window && *answer.remaining > remaining_) return std::nullopt;
        reset_ = is_same_window ? std::max(reset_, reset) : reset;
        remaining_ = *answer.remaining;
        return remaining_;
    }

private:
    time_point paused_until_ = time_point::min();
    time_point reset_ = time_point::min(); // of the newest window
    std::uint64_t remaining_ = 0;          // in that window
};

}}} // namespace resilience::RESILIENCE_ABI::detail
