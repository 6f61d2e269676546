// SPDX-License-Identifier: Apache-2.0
// The bodies of class call_context, included by call/call_context.hpp alone.

namespace resilience { inline namespace RESILIENCE_ABI {

RESILIENCE_FUNCTION call_context::~call_context() = default;
RESILIENCE_FUNCTION call_context::armed_stop::armed_stop(time_source& clock, time_point at,
                                                         const std::stop_token& outer)
    : outer_link(outer, stop_request{source}) {
    if (at != time_point::max()) deadline = clock.call_at(at, stop_request{source});
}
RESILIENCE_FUNCTION call_context::armed_stop::~armed_stop() = default;
RESILIENCE_FUNCTION std::stop_token call_context::stop_token() {
    if (!armed_) {
        if (relay_ == nullptr && deadline_ >= covered_deadline_) return callers_stop_token();
        arm();
    }
    return armed_->source.get_token();
}
RESILIENCE_FUNCTION time_point call_context::strikes_from() const noexcept {
    if (deadline_ == time_point::max()) return deadline_;
    const duration tick = clock_->coarse_resolution();
    // A timeout that reads the coarse clock adds a tick to its deadline.
    const bool is_coarse = owner_ == limit_owner::policy && tick <= remaining_cap_ / 100;
    return saturating_add(deadline_,
                          -(detail::grace_of(remaining_cap_, tick) + (is_coarse ? tick : duration{0})));
}
RESILIENCE_FUNCTION void call_context::relay_by(detail::stop_relay* relay) {
    relay_ = relay;
    if (relay_ != nullptr && armed_) relay_->pass_on_to(armed_->source);
}
RESILIENCE_FUNCTION void call_context::apply(const call_options& options) {
    if (options.deadline) tighten(*options.deadline, duration::max(), limit_owner::caller);
    if (options.stop_token.stop_possible()) {
        if (stop_ != nullptr) {
            join(options.stop_token);
        } else {
            stop_ = &options.stop_token;
        }
    }
    idempotency_ = options.idempotency;
    if (options.inherit != resilience::inherit::all) retry_depth_ = 0;
}
RESILIENCE_FUNCTION void call_context::inherit(const call_context& outer, resilience::inherit which) {
    if (which == resilience::inherit::nothing) return;
    // The outer call may use another clock. Its deadline means nothing on ours; the time left does.
    const time_point limit = outer.clock_ == clock_ || outer.deadline_ == time_point::max()
                                 ? outer.deadline_
                                 : saturating_add(clock_->now(), outer.remaining());
    tighten(limit, outer.remaining_cap_, limit_owner::enclosing_call);
    if (which == resilience::inherit::deadline_only) return;
    if (stop_ != nullptr && outer.stop_ != nullptr && stop_ != outer.stop_) {
        join(*outer.stop_);
    } else if (stop_ == nullptr) {
        stop_ = outer.stop_;
        stopped_at_deadline_ = outer.stopped_at_deadline_;
        if (outer.clock_ == clock_) covered_deadline_ = outer.covered_deadline_;
    }
    if (outer.retry_depth_ > retry_depth_) retry_depth_ = outer.retry_depth_;
    cancelled_ = cancelled_ || outer.cancelled_;
}
RESILIENCE_FUNCTION call_context::scope call_context::narrow(time_point deadline, duration limit) noexcept {
    scope outer{deadline_, remaining_cap_, std::move(armed_), owner_};
    tighten(deadline, limit);
    return outer;
}
RESILIENCE_FUNCTION void call_context::restore(scope&& outer) noexcept {
    deadline_ = outer.deadline;
    remaining_cap_ = outer.remaining_cap;
    owner_ = outer.owner;
    armed_ = std::move(outer.armed);
}
RESILIENCE_COLD RESILIENCE_FUNCTION void call_context::join(const std::stop_token& another) {
    joined_ = std::make_unique<joined_stop>(*stop_, another, std::move(joined_));
    stop_ = &joined_->token;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void call_context::arm() {
    armed_ = std::make_unique<armed_stop>(*clock_, deadline_, callers_stop_token());
    if (clock_->now() >= deadline_) armed_->source.request_stop(); // now, without the timer
    if (relay_ != nullptr) relay_->pass_on_to(armed_->source);
}

}} // namespace resilience::RESILIENCE_ABI
