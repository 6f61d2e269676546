// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/outside_of_calls.hpp>
#include <resilience/call/time_out.hpp>
#include <resilience/circuit_breaker/core.hpp>
#include <resilience/path/composable.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The right to run one attempt, for code that cannot be a callable. Settle it once, with success(),
/// failure() or settle(); else the destructor settles it as ignored. It keeps the circuit alive.
class [[nodiscard]] permit {
public:
    permit(permit&& other) noexcept : core_(std::move(other.core_)), held_(other.held_) {}
    permit& operator=(permit&& other) noexcept {
        if (this != &other) {
            release();
            core_ = std::move(other.core_);
            held_ = other.held_;
        }
        return *this;
    }
    ~permit() { release(); }

    // They tell if the result counted. It did not if it came late (the circuit has changed its state since, or
    // the lease of the probe is over), or if the permit was settled before. While the circuit is disabled, it
    // counts in totals alone.

    bool success() {
        const auto core = std::move(core_);
        return core && core->success_slow_path(held_);
    }
    /// Settles as a failure without asking record_if and ignore_if. break_duration_of is asked about `why`. If
    /// `why` is a stale connection, it settles as ignored.
    bool failure() { return settle_as_failure(nullptr); }
    bool failure(const resilience::failure& why) { return settle_as_failure(&why); }
    /// Says nothing about health, as the destructor does: a probe gives its place back.
    bool ignore() noexcept {
        const auto core = std::move(core_);
        return core && core->ignore(held_).counted;
    }
    /// Judges the outcome by the circuit's rules. If the call that this runs in has come to its limit, a
    /// failure has timed out.
    template <class R>
    bool settle(const outcome<R>& o) {
        return core_ && settle_seen(o.result());
    }

    /// The work goes on: a probe's lease lasts for `d` from now, or longer if it did. Permits that are no
    /// probes have no lease. Tells if a result would still count. Throws std::invalid_argument if `d` is
    /// negative.
    bool renew(duration d) {
        if (d < duration{0}) detail::raise(std::invalid_argument("permit: renew for a negative duration"));
        if (!core_) return false;
        const bool counts = core_->renew(held_, saturating_add(core_->now(), d));
        core_->deliver();
        return counts;
    }

private:
    friend class circuit_breaker;
    bool settle_as_failure(const resilience::failure* why) {
        return core_ && settle_as(core_->judge_as_failure(held_, why));
    }
    bool settle_seen(const attempt_result& result);
    bool settle_as(detail::breaker_judgement&& j) {
        const auto core = std::move(core_);
        return core->settle(held_, std::move(j)).counted;
    }
    permit(std::shared_ptr<detail::breaker_core> core, const detail::breaker_permit& held) noexcept
        : core_(std::move(core)), held_(held) {}
    void release() noexcept { ignore(); }

    std::shared_ptr<detail::breaker_core> core_; // null once settled
    detail::breaker_permit held_;
};

/// Cuts off a dependency that keeps failing, and probes it until it has recovered (Nygard, "Release It!").
///
/// closed: calls pass, failures are counted; a rule that is met trips it. open: calls are rejected with
/// circuit_open_error until recovery_timeout, or a longer hint of the server, has passed; the next call is the
/// first probe. half_open: a few probes pass; success_threshold successes close it, one bad probe, or the share
/// half_open_failure_rate of them, opens it again.
///
/// A handle: copies share the circuit. Thread-safe. The closed, successful path reads one shared word and
/// writes a count that belongs to the thread: no lock, no clock, no allocation.
class circuit_breaker : public composable<circuit_breaker>, public policy_handle<detail::breaker_core> {
public:
    using policy_handle::policy_handle;
    circuit_breaker() : circuit_breaker(circuit_breaker_config{}) {}
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    explicit circuit_breaker(...) = delete; // resilience: this is no circuit_breaker_config: a field is misspelt or of another type; circuit_breaker(circuit_breaker_config{...}) makes the compiler name it
    // clang-format on

    circuit_state state() const noexcept { return core_->state(); }

    /// A permit; empty if the circuit refuses, which counts as a rejection.
    std::optional<permit> try_acquire() const {
        auto core = core_; // a listener may destroy this handle
        detail::breaker_permit held;
        rejection why{.code = errc{}};
        const call_context* around = call_context::current();
        if (!core->admit(held, why, around != nullptr ? around->deadline() : time_point::max())) {
            core->publish_rejected(why, {});
            return std::nullopt;
        }
        return permit(std::move(core), held);
    }

    // Commands. Each begins a new generation and clears window and counts; the event and stats() show the
    // reason.

    /// Closes the circuit.
    void reset(std::string_view reason = {}) const { core_->command({circuit_state::closed}, reason); }
    /// Rejects all calls until another command.
    void force_open(std::string_view reason = {}) const {
        core_->command({circuit_state::forced_open}, reason);
    }
    /// Admits all calls and records only totals, until another command.
    void disable(std::string_view reason = {}) const { core_->command({circuit_state::disabled}, reason); }
    /// A dry run: admits and judges all calls; an event tells when it would have tripped.
    void metrics_only(std::string_view reason = {}) const {
        core_->command({circuit_state::metrics_only}, reason);
    }
    /// Opens as if it tripped: for recovery_timeout, or by recovery_backoff.
    void open(std::string_view reason = {}) const { core_->command({circuit_state::open}, reason); }
    /// Opens for that long, then probes as after a trip. Throws std::invalid_argument if `d` is negative.
    void open_for(duration d, std::string_view reason = {}) const {
        if (d < duration{0})
            detail::raise(std::invalid_argument("circuit_breaker: open_for a negative duration"));
        core_->command({circuit_state::open, d}, reason);
    }

    // For drivers.

    class attempt_state final : detail::work_lease {
    public:
        explicit attempt_state(std::shared_ptr<detail::breaker_core> core) noexcept
            : core_(std::move(core)), held_(nothing) {}
        attempt_state(std::shared_ptr<detail::breaker_core> core, const detail::breaker_permit& held) noexcept
            : core_(std::move(core)), held_(held) {}
        attempt_state(const attempt_state&) = delete;
        attempt_state& operator=(const attempt_state&) = delete;
        ~attempt_state() {
            if (is_admitted()) core_->ignore(held_);
        }

        admission admit(call_context& ctx);
        settlement settle(const attempt_result& result, call_context& ctx);

    private:
        RESILIENCE_FUNCTION void extend(time_point from, time_point until) noexcept override;

        static constexpr detail::breaker_permit nothing{.lease_end = time_point::min()};
        bool is_admitted() const noexcept { return held_.lease_end != nothing.lease_end; }

        std::shared_ptr<detail::breaker_core> core_;
        detail::breaker_permit held_; // nothing if no attempt is admitted
    };
    attempt_state begin(call_context&) const noexcept { return attempt_state(core_); }

    struct fast_permit {
        detail::published_state admitted;
        time_point start; // set only if calls are timed
        explicit operator bool() const noexcept { return admitted.allows_fast_path(); }
    };
    RESILIENCE_INLINE fast_permit try_begin() const noexcept {
        const detail::published_state seen = core_->published();
        if (seen.has(detail::published_state::timed)) [[unlikely]]
            return {seen, core_->now()};
        return {seen, time_point{}};
    }
    RESILIENCE_INLINE void succeed(const fast_permit& permit) const noexcept {
        core_->succeed(permit.admitted, permit.start);
    }
    void abandon(const fast_permit& permit) const noexcept { core_->ignore({permit.admitted, permit.start}); }
    attempt_state resume(const fast_permit& permit, call_context&) const noexcept {
        return {core_, {permit.admitted, permit.start}};
    }
    void settle_alone(const fast_permit& permit, const attempt_result& result) const;
    RESILIENCE_INLINE bool try_reject(rejection& why, std::string_view operation) const noexcept {
        if (!core_->surely_open(why)) return false;
        if (core_->env()->has_listeners()) [[unlikely]]
            tell_rejected(why, operation);
        return true;
    }

private:
    void tell_rejected(rejection why, std::string_view operation) const noexcept;
};

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION void circuit_breaker::tell_rejected(
    rejection why, std::string_view operation) const noexcept {
    const auto core = core_; // a listener may destroy this handle
    core->publish_rejected(why, operation);
}
RESILIENCE_FUNCTION bool permit::settle_seen(const attempt_result& result) {
    const call_context* around = call_context::current();
    if (around == nullptr || result.succeeded() || !detail::has_timed_out(*result.error(), *around))
        return settle_as(core_->judge(held_, result));
    resilience::failure late = *result.error();
    late.mark_timed_out();
    return settle_as(core_->judge(held_, attempt_result(late)));
}
RESILIENCE_FUNCTION admission circuit_breaker::attempt_state::admit(call_context& ctx) {
    const detail::correlated_call here(ctx);
    rejection why{.code = errc{}};
    detail::breaker_permit given;
    if (core_->admit(given, why, ctx.deadline())) {
        held_ = given;
        if (held_.is_probe()) ctx.leases().hold(*this);
        return admission::go();
    }
    core_->publish_rejected(why, ctx.operation());
    return admission::reject(why);
}
RESILIENCE_FUNCTION settlement circuit_breaker::attempt_state::settle(const attempt_result& result,
                                                                      call_context& ctx) {
    let_go();
    auto judgement = core_->judge(held_, result); // runs user code, so held_ is still set
    if (ctx.ended_by_caller() && judgement.what == verdict::failure) judgement.what = verdict::ignored;
    const auto settled = std::exchange(held_, nothing);
    const detail::correlated_call here(ctx);
    return settlement::finish_until(core_->settle(settled, std::move(judgement)).not_before);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void circuit_breaker::settle_alone(const fast_permit& permit,
                                                                       const attempt_result& result) const {
    const auto core = core_; // a predicate may destroy this handle
    const detail::breaker_permit held{permit.admitted, permit.start};
    core->settle(held, core->judge(held, result));
}
RESILIENCE_FUNCTION void circuit_breaker::attempt_state::extend(time_point from, time_point until) noexcept {
    if (from != time_point::min()) until = std::max(until, saturating_add(from, core_->config().probe_lease));
    if (until > held_.lease_end) core_->renew(held_, until);
}
#endif

}} // namespace resilience::RESILIENCE_ABI
