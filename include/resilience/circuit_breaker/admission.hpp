// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who is let in.

#include <resilience/circuit_breaker/core.hpp>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

RESILIENCE_COLD inline bool breaker_core::admit(breaker_permit& permit, rejection& why, time_point deadline) {
    permit.word = word();
    const std::uint64_t state = permit.word & breaker_word::state_mask;
    const auto is = [&](circuit_state s) { return state == static_cast<std::uint64_t>(s); };
    if (is(circuit_state::closed) || is(circuit_state::disabled) || is(circuit_state::metrics_only)) {
        if ((permit.word & breaker_word::timed) != 0) permit.start = now();
        return true;
    }
    if (surely_open(why)) return false;

    const time_point at = now();
    const wall_time wall = env_->clock().wall_now();
    const double uniform = draw();
    bool admitted = false;
    bool news = false;
    {
        const lock_guard lock(mutex_);
        const breaker_limits limits = limits_of(config_.get());
        expire_leases(at, wall, uniform);
        const auto given = machine_.admit(limits, at, deadline);
        moved(given.change, at, wall, "recovery_timeout");
        admitted = given.how != admission_kind::refused;
        if (admitted) {
            permit = {word_.load(std::memory_order_relaxed), at, given.lease_end};
        } else {
            const circuit_state seen = machine_.state();
            why = {.code = errc::circuit_open,
                   .policy = label_,
                   .retry_after = given.retry_after,
                   .reason = seen == circuit_state::half_open
                                 ? "is half-open and all its probe places are taken"
                             : seen == circuit_state::forced_open ? "is forced open"
                                                                  : nullptr};
            counts_.add(rejected);
        }
        news = journal_.has_events();
    }
    if (news) deliver();
    return admitted;
}

RESILIENCE_COLD inline void breaker_core::tell_rejected(const rejection& why, std::string_view operation) {
    env_->tell([&] {
        event e{.kind = event_kind::call_rejected,
                .policy_kind = policy_kind,
                .policy = name(),
                .operation = std::string(operation)};
        e.error_type = failure(why).type_name();
        e.error = why.message();
        e.to = e.from = state();
        if (why.retry_after >= duration{0}) e.delay = why.retry_after;
        return e;
    });
}

}}} // namespace resilience::RESILIENCE_ABI::detail
