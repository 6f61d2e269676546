// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a circuit breaker does away from the closed, successful path.

#include <resilience/circuit_breaker_core.hpp>

namespace resilience::inline RESILIENCE_ABI::detail {

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
        const auto given = machine_.ask(limits, at, deadline);
        moved(given.change, at, wall, "recovery_timeout");
        admitted = given.how != entry::refused;
        if (admitted) {
            permit = {word_.load(std::memory_order_relaxed), at, given.lease_end};
        } else {
            const circuit_state seen = machine_.state();
            why = {.code = errc::circuit_open,
                   .policy = label_,
                   .retry_after = given.retry_after,
                   .reason = seen == circuit_state::half_open     ? "is half-open and all its probe places are taken"
                             : seen == circuit_state::forced_open ? "is forced open"
                                                                  : nullptr};
            counts_.add(rejected);
        }
        news = journal_.has_events();
    }
    if (news) deliver();
    return admitted;
}

inline bool breaker_core::surely_open(rejection& why) noexcept {
    if ((word() & breaker_word::state_mask) != static_cast<std::uint64_t>(circuit_state::open)) return false;
    const time_point coarse = env_->clock().coarse_now();
    const time_point reopens{duration{reopens_at_.load(std::memory_order_relaxed)}};
    const duration left = saturating_sub(reopens, coarse);
    if (left <= tick_) return false; // the exact clock has to decide
    why = {.code = errc::circuit_open, .policy = label_, .retry_after = left};
    counts_.add(rejected);
    return true;
}

RESILIENCE_COLD inline void breaker_core::tell_rejected(const rejection& why, std::string_view operation) {
    if (!env_->has_listeners()) return;
    event e{.kind = event_kind::call_rejected, .policy_kind = policy_kind, .policy = name(), .operation = std::string(operation)};
    e.error_type = failure(why).type_name();
    e.error = why.message();
    e.to = e.from = state();
    if (why.retry_after >= duration{0}) e.delay = why.retry_after;
    env_->publish(std::move(e));
}

/// With mutex_. A probe whose lease is over has failed, whether or not anybody came by to see it.
inline void breaker_core::expire_leases(time_point at, wall_time wall, double uniform) {
    moved(machine_.expire(limits_of(config_.get()), at, uniform), at, wall, "probe_lease");
}

/// The config that the call began under.
inline const circuit_breaker_config& breaker_core::config_of(const breaker_permit& permit) const noexcept {
    const std::uint16_t version = breaker_word::version(permit.word);
    if (version == breaker_word::version(word_.load(std::memory_order_acquire))) return config_.get();
    const lock_guard lock(mutex_);
    return config_.of_version(version);
}

__attribute__((noinline)) inline void breaker_core::succeed_with_care(breaker_permit permit) noexcept {
    const std::uint64_t word = word_.load(std::memory_order_acquire);
    const bool same_epoch = breaker_word::generation(word) == breaker_word::generation(permit.word);
    const auto plain = breaker_word::state_mask | breaker_word::waiting | breaker_word::timed;
    if (same_epoch && ((word | permit.word) & plain) == 0) {
        const bool counted = (word & breaker_word::counted) != 0   ? count_in_window(permit)
                             : (word & breaker_word::by_time) != 0 ? count_in_time(permit)
                                                                   : true;
        if (counted) return counts_.add(success);
    }
    if (same_epoch && (word & breaker_word::state_mask) == static_cast<std::uint64_t>(circuit_state::disabled)) {
        return counts_.add(success);
    }
    const auto& c = config_of(permit);
    const bool must_time = (permit.word & breaker_word::timed) != 0;
    const time_point at = now();
    const bool slow = must_time && c.slow_call_duration && elapsed_between(permit.start, at) > *c.slow_call_duration;
    record_success(permit, slow, at, env_->clock().wall_now());
}

/// Lock-free: a fast success only takes the next position. False if the epoch is another by now.
inline bool breaker_core::count_in_window(const breaker_permit& permit) noexcept {
    const std::uint64_t epoch = breaker_word::generation(permit.word) << 48U;
    std::uint64_t seen = position_.load(std::memory_order_relaxed);
    while ((seen & ~position_mask) == epoch) {
        if (position_.compare_exchange_weak(seen, seen + 1, std::memory_order_relaxed)) return true;
    }
    return false;
}

/// Lock-free but for the first success of a thread in each bucket.
inline bool breaker_core::count_in_time(const breaker_permit& permit) noexcept {
    time_source& clock = env_->clock();
    const time_point coarse = clock.coarse_now();
    if (stripes_->add(coarse.time_since_epoch().count())) return true;
    const time_point at = clock.now();
    const lock_guard lock(mutex_);
    if (!is_current(permit)) return false;
    const std::uint32_t bucket = rules_.bucket_at(at);
    if (stripes_->is_mine()) stripes_->enter(bucket, rules_.end_of_bucket(bucket).time_since_epoch().count());
    else rules_.record_success(at);
    return true;
}

RESILIENCE_COLD inline void breaker_core::record_success(const breaker_permit& permit, bool slow, time_point at, wall_time wall) {
    const double uniform = draw();
    bool news = false;
    {
        const lock_guard lock(mutex_);
        take_success(permit, slow, at, wall, uniform);
        news = journal_.has_events();
    }
    if (news) deliver();
}

/// With mutex_.
inline void breaker_core::take_success(const breaker_permit& permit, bool slow, time_point at, wall_time wall, double uniform) {
    if (slow) ++slow_;
    expire_leases(at, wall, uniform);
    if (!is_current(permit)) {
        ++late_results_;
        return counts_.add(late_success); // apart from the others: it must not break a row of failures
    }
    counts_.add(success);
    switch (machine_.state()) {
    case circuit_state::half_open:
        moved(machine_.settle(verdict::success, permit.lease_end, limits_of(config_.get()), at, {}, uniform), at, wall, "success_threshold");
        break;
    case circuit_state::closed:
    case circuit_state::metrics_only:
        if (!rules_.config().has_rates()) return;
        if (slow) rules_.record(false, true, at, position_.fetch_add(1, std::memory_order_relaxed) & position_mask, counts_.sum(success));
        else if (rules_.config().has_time_window()) rules_.record_success(at);
        else position_.fetch_add(1, std::memory_order_relaxed);
        if (slow || waits_for_calls_) judge_rules(at, wall, {}, uniform);
        break;
    default: break;
    }
}

inline std::pair<verdict, std::optional<duration>> breaker_core::judge(const attempt_result& result, const circuit_breaker_config& c) noexcept {
    const failure* why = result.error();
#if RESILIENCE_EXCEPTIONS
    try {
#endif
        std::optional<failure> as_value;
        if (why == nullptr) {
            const bool asks = c.record_if.examines_values() || c.ignore_if.examines_values();
            if (!asks) return {result.judged(), {}};
            why = &as_value.emplace(result.as_failure());
            if (c.ignore_if.examines_values() && c.ignore_if(*why)) return {verdict::ignored, {}};
            if (!c.record_if.examines_values() || !c.record_if(*why)) return {result.judged(), {}};
        } else {
            const auto usual = default_verdict(*why);
            const auto code = why->code();
            const bool cancelled = code == std::errc::operation_canceled;
            const bool refused = usual == verdict::ignored && code.category() == resilience::error_category(); // detail has a class of that name
            if (cancelled || refused) return {verdict::ignored, {}};
            if (c.ignore_if.has_value() && c.ignore_if(*why)) return {verdict::ignored, {}};
            const auto v = !c.record_if.has_value() ? usual : c.record_if(*why) ? verdict::failure : verdict::success;
            if (v != verdict::failure) return {v, {}};
        }
        return {verdict::failure, c.break_duration_of ? c.break_duration_of(*why) : std::nullopt};
#if RESILIENCE_EXCEPTIONS
    } catch (...) { // a predicate's trouble must not lose the permit: the attempt is settled as a failure
        predicate_errors_.fetch_add(1, std::memory_order_relaxed);
        return {result.succeeded() ? result.judged() : verdict::failure, {}};
    }
#endif
}

RESILIENCE_COLD inline time_point breaker_core::settle(const breaker_permit& permit, const attempt_result& result) {
    const auto [judged, break_for] = judge(result, config_of(permit));
    if (judged == verdict::success) {
        succeed(permit);
        return time_point::min();
    }
    if (judged == verdict::ignored) {
        ignore(permit);
        return time_point::min();
    }
    return record_failure(permit, result, break_for);
}

RESILIENCE_COLD inline time_point breaker_core::record_failure(const breaker_permit& permit, const attempt_result& result, std::optional<duration> break_for) {
    const auto& c = config_of(permit);
    const time_point at = now();
    const wall_time wall = env_->clock().wall_now();
    const double uniform = draw();
    const bool slow = (permit.word & breaker_word::timed) != 0 && c.slow_call_duration &&
                      elapsed_between(permit.start, at) > *c.slow_call_duration;
    auto texts = texts_of(result);
    time_point not_before = time_point::min();
    bool news = false;
    {
        const lock_guard lock(mutex_);
        not_before = take_failure(permit, slow, break_for, std::move(texts), at, wall, uniform);
        news = journal_.has_events();
    }
    if (news) deliver();
    return not_before;
}

/// With mutex_.
inline time_point breaker_core::take_failure(const breaker_permit& permit, bool slow, std::optional<duration> break_for,
                                             circuit_breaker_stats::error_text texts, time_point at, wall_time wall, double uniform) {
    ++failures_;
    if (slow) ++slow_;
    expire_leases(at, wall, uniform);
    if (!is_current(permit)) {
        ++late_results_;
        return time_point::min();
    }
    if (machine_.state() == circuit_state::disabled) return time_point::min();
    journal_.last_failure_at = wall;
    journal_.last_error = std::move(texts);
    if (machine_.state() == circuit_state::half_open) {
        moved(machine_.settle(verdict::failure, permit.lease_end, limits_of(config_.get()), at, break_for, uniform), at, wall, "probe failed");
    } else {
        rules_.record(true, slow, at, position_.fetch_add(1, std::memory_order_relaxed) & position_mask, counts_.sum(success));
        judge_rules(at, wall, break_for, uniform);
    }
    return machine_.state() == circuit_state::open ? machine_.opens_until() : time_point::min();
}

inline time_point breaker_core::fail(const breaker_permit& permit, const failure* why) {
    static const failure unknown;
    const auto& c = config_of(permit);
    std::optional<duration> break_for;
#if RESILIENCE_EXCEPTIONS
    try {
#endif
        if (why != nullptr && c.break_duration_of) break_for = c.break_duration_of(*why);
#if RESILIENCE_EXCEPTIONS
    } catch (...) { // as in judge()
        predicate_errors_.fetch_add(1, std::memory_order_relaxed);
    }
#endif
    return record_failure(permit, attempt_result(why != nullptr ? *why : unknown), break_for);
}

RESILIENCE_COLD inline void breaker_core::ignore(const breaker_permit& permit) noexcept {
    counts_.add(ignored);
    const bool may_be_probe = state() == circuit_state::half_open; // if it is one, its admission is seen here
    const time_point at = may_be_probe ? now() : time_point::min();
    const wall_time wall = may_be_probe ? env_->clock().wall_now() : wall_time{};
    const double uniform = may_be_probe ? draw() : 0.0;
    bool news = false;
    {
        const lock_guard lock(mutex_);
        expire_leases(at, wall, uniform);
        if (!is_current(permit)) ++late_results_;
        else machine_.settle(verdict::ignored, permit.lease_end, limits_of(config_.get()), at, {}, uniform); // gives a place back
        news = journal_.has_events();
    }
    if (news) deliver();
}

/// With mutex_. The results in the rate window now.
inline tally breaker_core::rates(time_point at) const {
    if (!rules_.config().has_rates()) return {};
    if (!rules_.config().has_time_window()) return rules_.last_results(next_position());
    const std::uint32_t bucket = rules_.bucket_at(at);
    tally all = rules_.results_until(bucket);
    all.total += stripes_->sum(rules_.first_bucket(), bucket);
    return all;
}

/// With mutex_. Trips if a rule is met; a circuit that only measures says so and starts over.
inline void breaker_core::judge_rules(time_point at, wall_time wall, std::optional<duration> break_for, double uniform) {
    const tally now_in_window = rates(at);
    const char* rule = break_for ? "break_duration_of" : rules_.judge(at, now_in_window);
    if (rule == nullptr) {
        const bool waits = rules_.waits_for_calls(now_in_window);
        if (waits != std::exchange(waits_for_calls_, waits)) publish();
        return;
    }
    tripping_count_ = rules_.failures(at, now_in_window);
    if (machine_.state() == circuit_state::closed) {
        moved(machine_.trip(limits_of(config_.get()), at, break_for, uniform), at, wall, rule);
        return;
    }
    if (env_->has_listeners()) {
        journal_.queue([&] {
            event e{.kind = event_kind::would_have_tripped, .policy_kind = policy_kind, .policy = name()};
            e.from = e.to = machine_.state();
            e.failure_count = tripping_count_;
            e.reason = rule;
            if (journal_.last_error) {
                e.error_type = journal_.last_error->type;
                e.error = journal_.last_error->message;
            }
            e.at = at;
            e.wall = wall;
            e.generation = machine_.generation();
            return e;
        });
    }
    rules_.clear(next_position(), counts_.sum(success));
    if (stripes_) stripes_->renumber();
    waits_for_calls_ = false;
    publish();
}

/// With mutex_. All that goes with a change of state, but for telling of it.
inline void breaker_core::moved(const std::optional<transition>& change, time_point at, wall_time wall, std::string_view reason) {
    if (!change) return;
    const std::uint64_t successes = counts_.sum(success);
    if (env_->has_listeners() || config_.get().on_state_change) {
        journal_.queue([&] { return event_of(*change, successes, at, wall, reason); });
    }
    journal_.note(*change, wall);
    successes_before_ = successes;
    waits_for_calls_ = false;
    rules_.clear(next_position(), successes);
    if (stripes_) stripes_->renumber();
    publish();
}

/// With mutex_, before the counts of the epoch that ends are cleared.
inline event breaker_core::event_of(const transition& change, std::uint64_t successes, time_point at, wall_time wall, std::string_view reason) const {
    event e{.kind = event_kind::state_changed, .policy_kind = policy_kind, .policy = name()};
    e.from = change.from;
    e.to = change.to;
    e.failure_count = change.from == circuit_state::closed && change.to != circuit_state::open
                          ? rules_.failures(at, rates(at))
                          : tripping_count_;
    e.success_count = successes - successes_before_;
    if (change.to == circuit_state::open) {
        e.delay = elapsed_between(at, machine_.opens_until());
        if (journal_.last_error) {
            e.error_type = journal_.last_error->type;
            e.error = journal_.last_error->message;
        }
    }
    e.reason = reason;
    e.at = at;
    e.wall = wall;
    e.generation = change.generation;
    return e;
}

/// With mutex_. Before the time buckets get new numbers: stripes keep the old ones.
inline void breaker_core::keep_striped_successes(const breaker_rules_config& next, time_point at) {
    if (!stripes_ || !rules_.config().has_time_window() || !rules_.would_renumber(next)) return;
    const std::uint32_t last = rules_.bucket_at(at);
    for (std::uint32_t age = 0; age < time_buckets::bucket_count; ++age) {
        const std::uint32_t bucket = last - age;
        rules_.take_over(bucket, stripes_->sum(bucket, bucket));
        if (bucket == rules_.first_bucket()) break;
    }
}

inline void breaker_core::prepare_stripes() {
    if (!stripes_ && rules_.config().has_rates() && rules_.config().has_time_window()) {
        stripes_ = std::make_unique<striped_buckets<time_buckets::bucket_count>>();
    }
}

/// With mutex_ (or before anybody else knows the core).
inline void breaker_core::publish() noexcept {
    const auto& c = config_.get();
    const auto& rules = rules_.config();
    std::uint64_t word = machine_.generation() << breaker_word::generation_shift;
    word |= std::uint64_t{config_.version()} << breaker_word::version_shift;
    word |= static_cast<std::uint64_t>(machine_.state());
    if (rules.has_rates()) word |= rules.has_time_window() ? breaker_word::by_time : breaker_word::counted;
    if (waits_for_calls_) word |= breaker_word::waiting;
    if (c.slow_call_duration) word |= breaker_word::timed;
    if (c.record_if.examines_values() || c.ignore_if.examines_values()) word |= breaker_word::examined;
    const std::uint64_t epoch = machine_.generation() << 48U;
    std::uint64_t position = position_.load(std::memory_order_relaxed);
    while (!position_.compare_exchange_weak(position, epoch | (position & position_mask), std::memory_order_relaxed)) {
    }
    if (machine_.state() == circuit_state::open) reopens_at_.store(machine_.opens_until().time_since_epoch().count(), std::memory_order_relaxed);
    word_.store(word, std::memory_order_release);
}

RESILIENCE_COLD inline void breaker_core::command(breaker_state next, std::string_view reason) {
    const time_point at = now();
    const wall_time wall = env_->clock().wall_now();
    {
        const lock_guard lock(mutex_);
        if (const auto* open = std::get_if<open_state>(&next)) next = open_state{saturating_add(at, open->until.time_since_epoch()), open->openings};
        if (seen_as(machine_.state()) == circuit_state::closed) tripping_count_ = rules_.failures(at, rates(at));
        journal_.reason = reason;
        const transition change = machine_.command(next);
        if (change.to == circuit_state::closed) tripping_count_ = 0;
        moved(change, at, wall, reason.empty() ? std::string_view("by hand") : reason);
    }
    deliver();
}

RESILIENCE_COLD inline void breaker_core::update(circuit_breaker_config config) {
    require_valid(validate(config));
    if (config.name != name()) {
        raise(std::invalid_argument("circuit_breaker_config.name is '" + config.name + "'; the name of a circuit is fixed: '" + name() + "'"));
    }
    const time_point at = now();
    const wall_time wall = env_->clock().wall_now();
    const double uniform = draw();
    {
        const lock_guard lock(mutex_);
        const breaker_rules_config next = rules_of(config);
        keep_striped_successes(next, at);
        rules_.update(next, next_position(), at);
        prepare_stripes();
        config_.replace(std::move(config));
        if (stripes_) stripes_->renumber();
        publish();
        moved(machine_.rejudge(limits_of(config_.get())), at, wall, "success_threshold");
        const bool counts = machine_.state() == circuit_state::closed || machine_.state() == circuit_state::metrics_only;
        if (counts) judge_rules(at, wall, {}, uniform);
    }
    deliver();
    tell_updated();
}

inline circuit_breaker_stats breaker_core::stats() const {
    const time_point at = now();
    circuit_breaker_stats s;
    s.name = name();
    s.ignored = counts_.sum(ignored);
    s.rejected = counts_.sum(rejected);
    s.predicate_errors = predicate_errors_.load(std::memory_order_relaxed);
    const lock_guard lock(mutex_);
    const auto& rules = rules_.config();
    const tally in_window = rates(at);
    s.state = machine_.state();
    s.generation = machine_.generation();
    const std::uint64_t successes = counts_.sum(success);
    s.successes = successes + counts_.sum(late_success);
    const bool counts = s.state == circuit_state::closed || s.state == circuit_state::metrics_only || s.state == circuit_state::disabled;
    s.failure_count = counts ? rules_.failures(at, in_window) : tripping_count_;
    s.failure_threshold = rules.failure_threshold.value_or(rules.consecutive_failures.value_or(0));
    s.success_count = counts ? successes - successes_before_ : machine_.probes_passed();
    s.success_threshold = config_.get().success_threshold;
    s.opened_at = journal_.opened_at;
    s.last_failure_time = journal_.last_failure_at;
    s.state_since = journal_.state_since;
    if (rules.failure_rate_threshold) s.failure_rate = in_window.failure_rate();
    if (rules.slow_call_rate_threshold) s.slow_call_rate = in_window.slow_rate();
    if (s.state == circuit_state::open) s.retry_after = elapsed_between(at, machine_.opens_until());
    s.failures = failures_;
    s.late_results = late_results_;
    s.slow = slow_;
    s.trips = journal_.trips;
    s.calls = s.successes + s.failures + s.ignored;
    s.last_error = journal_.last_error;
    s.reason = journal_.reason;
    return s;
}

inline policy_snapshot breaker_core::snapshot() const {
    const circuit_breaker_stats s = stats();
    return {std::string(policy_kind),
            s.name,
            {{"state", std::string(to_string(s.state))},
             {"failure_count", s.failure_count},
             {"failure_threshold", std::uint64_t{s.failure_threshold}},
             {"success_count", s.success_count},
             {"success_threshold", std::uint64_t{s.success_threshold}},
             {"generation", s.generation},
             {"failure_rate", s.failure_rate},
             {"slow_call_rate", s.slow_call_rate},
             {"calls", s.calls},
             {"successes", s.successes},
             {"failures", s.failures},
             {"ignored", s.ignored},
             {"rejected", s.rejected},
             {"late_results", s.late_results},
             {"slow", s.slow},
             {"trips", s.trips},
             {"predicate_errors", s.predicate_errors}}};
}

} // namespace resilience::inline RESILIENCE_ABI::detail
