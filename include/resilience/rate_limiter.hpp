// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/path/composable.hpp>
#include <resilience/rate_limiter/config.hpp>
#include <resilience/rate_limiter/core.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Bounds the rate of attempts: what an API allows, or what a dependency can bear. An attempt that finds no permit is refused
/// with rate_limited, or waits for its turn within max_wait. Turns are given in the order of coming, also to those that need
/// many permits. A refusal takes nothing.
///
/// Permits go back if the attempt does not run, or if its request was not sent (not_sent_carrier, was_not_sent, a refusal of
/// a policy further in). So `requests | tokens` takes all or nothing.
///
/// A handle: copies share the permits. Thread-safe. No thread and no timer works for it: permits are computed when asked for.
class rate_limiter : public composable<rate_limiter>, public policy_handle<detail::rate_limiter_core> {
public:
    using policy_handle::policy_handle;
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    explicit rate_limiter(...) = delete; // resilience: this is no rate_limiter_config: a field is misspelt or of another type; rate_limiter(rate_limiter_config{...}) makes the compiler name it
    // clang-format on

    /// Permits that were taken in advance, with a turn that may be still to come. The destructor keeps them taken.
    class [[nodiscard]] reservation {
    public:
        /// False: they are more than a burst, or too far ahead. Nothing was taken.
        explicit operator bool() const noexcept { return claim_.is_given; }
        /// The time until its turn; 0 from then on. duration::max() if there is none.
        duration ready_in() const noexcept {
            if (!claim_.is_given) return duration::max();
            return elapsed_between(core_->clock().now(), claim_.turn.moment);
        }
        /// Gives the permits back, less what was reserved after them. Once; without effect on one that is false.
        void cancel() noexcept {
            if (claim_.is_given) core_->cancel(std::exchange(claim_, {}));
        }

    private:
        friend class rate_limiter;
        reservation(std::shared_ptr<detail::rate_limiter_core> core, const detail::rate_claim& claim) noexcept
            : core_(std::move(core)), claim_(claim) {}

        std::shared_ptr<detail::rate_limiter_core> core_;
        detail::rate_claim claim_;
    };

    /// Takes `n` permits if they are there now; never waits. False counts as a rejection. Throws std::invalid_argument if n
    /// is 0.
    bool try_acquire(std::uint64_t n = 1) const {
        const auto core = core_; // a listener may destroy this handle
        return core->claim(n, duration{0}, "rate_limiter::try_acquire: n").is_given;
    }
    /// Takes `n` permits for the next turn there is, however far ahead: the caller waits for ready_in() by itself. Throws
    /// std::invalid_argument if n is 0.
    reservation reserve(std::uint64_t n = 1) const {
        auto core = core_;
        const detail::rate_claim claim = core->claim(n, duration::max(), "rate_limiter::reserve: n");
        return {std::move(core), claim};
    }
    /// Takes all permits that are there.
    void drain() const { core_->drain(); }
    /// Corrects the cost of an attempt once it is known: `taken` permits were taken for it, `actual` ones it was worth. What
    /// is missing becomes a debt, of a burst at most.
    void settle_cost(std::uint64_t taken, std::uint64_t actual) const { core_->settle_cost(taken, actual); }
    /// Learns from a server's answer, as `server_sync` allows. A pause holds all calls: those that may wait do. It lasts for
    /// as long as the server asked and up to a tenth more, but no longer than max_server_pause. Answers that were overtaken
    /// by a newer one are ignored.
    void observe(const server_limit& limit) const { core_->observe(limit); }

    // For drivers.

    class attempt_state final : detail::rate_limiter_entry {
    public:
        explicit attempt_state(std::shared_ptr<detail::rate_limiter_core> core) noexcept
            : core_(std::move(core)) {}
        attempt_state(const attempt_state&) = delete;
        attempt_state& operator=(const attempt_state&) = delete;
        ~attempt_state() { core_->leave(*this); }

        admission admit(call_context& ctx) { return core_->admit(*this, ctx); }
        settlement settle(const attempt_result& result, call_context&) {
            core_->settle(*this, result);
            return settlement::finish();
        }

    private:
        std::shared_ptr<detail::rate_limiter_core> core_;
    };
    attempt_state begin(call_context&) const noexcept { return attempt_state(core_); }
};

}} // namespace resilience::RESILIENCE_ABI
