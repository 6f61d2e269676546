// SPDX-License-Identifier: Apache-2.0
// The bodies of class call_context, included by call/call_context.hpp alone.

namespace resilience { inline namespace RESILIENCE_ABI {

RESILIENCE_FUNCTION call_context::~call_context() {
    if (repeats_ != nullptr && repeats_ == &own_repeats_) [[unlikely]]
        detail::this_threads_calls.set_repeats(transparent_repeats());
}
RESILIENCE_FUNCTION void call_context::take_repeats(const detail::thread_calls& from) noexcept {
    own_repeats_.store(from.repeated(), std::memory_order_relaxed);
    if (from.retry_depth > 0) repeats_ = &own_repeats_;
}
RESILIENCE_FUNCTION void call_context::progress() noexcept {
    if (watch_ == nullptr) return;
    watch_->progress(clock_->now());
    if (has_leases()) extend_leases(time_point::min(), deadline()); // the work goes on
}
RESILIENCE_COLD RESILIENCE_FUNCTION void call_context::extend_leases(time_point from,
                                                                     time_point until) const noexcept {
    leases_.extend(from, until);
    for (const call_context* outer = around(); outer != nullptr; outer = outer->around())
        outer->leases_.extend(time_point::min(), outer->deadline());
}
RESILIENCE_FUNCTION std::stop_token call_context::stop_token() {
    if (!armed_) {
        if (relay() == nullptr && (watch_ == nullptr || covers_silence_) && deadline_ >= covered_deadline())
            return callers_stop_token();
        arm();
    }
    return armed_->source.get_token();
}
RESILIENCE_FUNCTION time_point call_context::covered_deadline() const noexcept {
    return covered_by_ != nullptr && covered_by_->clock == clock_ ? covered_by_->deadline : time_point::max();
}
RESILIENCE_FUNCTION time_point call_context::strikes_from() const noexcept {
    const time_point at = deadline();
    if (at == time_point::max()) return at;
    const duration length = remaining_cap();
    const duration tick = clock_->coarse_resolution();
    // A timeout that reads the coarse clock adds a tick to its deadline.
    const bool is_coarse = owner() == limit_owner::policy && tick <= length / 100;
    return saturating_add(at, -(detail::grace_of(length, tick) + (is_coarse ? tick : duration{0})));
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
    states_idempotency_ = options.idempotency.has_value();
    idempotency_ = options.idempotency.value_or(resilience::idempotency::safe);
    if (options.priority) priority_ = *options.priority, has_priority_ = true;
    if (!options.correlation.empty()) correlation_ = options.correlation.text_.get();
    if (options.inherit != resilience::inherit::all) retry_depth_ = 0;
}
RESILIENCE_FUNCTION void call_context::inherit(const call_context& outer, resilience::inherit which) {
    if (which == resilience::inherit::nothing) return;
    // The outer call may use another clock. Its deadline means nothing on ours; the time left does.
    // Of two watches that know nothing of each other only one can be told of progress.
    const bool shares_watch = outer.clock_ == clock_ && (watch_ == nullptr || watch_ == outer.watch_);
    if (shares_watch) watch_ = outer.watch_;
    const time_point ends = shares_watch ? outer.deadline_ : outer.deadline();
    const time_point limit = outer.clock_ == clock_ || ends == time_point::max()
                                 ? ends
                                 : saturating_add(clock_->now(), outer.remaining());
    tighten(limit, outer.remaining_cap_, limit_owner::enclosing_call);
    if (!has_priority_) priority_ = outer.priority_, has_priority_ = outer.has_priority_;
    if (correlation_ == nullptr) correlation_ = outer.correlation_;
    if (which == resilience::inherit::deadline_only) return;
    if (stop_ != nullptr && outer.stop_ != nullptr && stop_ != outer.stop_) {
        join(*outer.stop_);
    } else if (stop_ == nullptr) {
        stop_ = outer.stop_;
        covered_by_ = outer.covered_by_;
        if (shares_watch) covers_silence_ = outer.covers_silence_;
    }
    if (outer.retry_depth_ > retry_depth_) retry_depth_ = outer.retry_depth_;
    share_repeats(outer);
    cancelled_ = cancelled_ || outer.cancelled_;
}
RESILIENCE_FUNCTION call_context::scope call_context::narrow(time_point deadline, duration limit,
                                                             detail::silence_watch* watch) noexcept {
    scope outer{deadline_, remaining_cap_, std::move(armed_), owner_, covers_silence_};
    tighten(deadline, limit);
    if (watch == nullptr) return outer;
    watch_ = watch;
    covers_silence_ = false;
    outer.is_watched = true;
    return outer;
}
RESILIENCE_FUNCTION void call_context::restore(scope&& outer) noexcept {
    deadline_ = outer.deadline;
    remaining_cap_ = outer.remaining_cap;
    owner_ = outer.owner;
    armed_ = std::move(outer.armed);
    if (outer.is_watched) watch_ = watch_->outer();
    covers_silence_ = outer.covers_silence;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void call_context::join(const std::stop_token& another) {
    joined_ = std::make_unique<detail::joined_stop>(*stop_, another, std::move(joined_));
    stop_ = &joined_->token;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void call_context::arm() {
    // The end of a race requests the token too, also if it is silence that ends it.
    armed_ = std::make_unique<detail::armed_stop>(*clock_, deadline_, callers_stop_token(),
                                                  relay() == nullptr ? watch_ : nullptr);
    if (clock_->now() >= deadline_) armed_->source.request_stop(); // now, without the timer
    if (relay() != nullptr) relay_->pass_on_to(armed_->source);
}

}} // namespace resilience::RESILIENCE_ABI
