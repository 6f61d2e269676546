// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/config_cell.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/detail/striped_counters.hpp>
#include <resilience/path/composable.hpp>

#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI {

/// What a timeout goes by.
struct timeout_config {
    /// Names the policy in its registry, in events and in errors; empty: private and unlisted.
    std::string name{};
    /// How long an attempt may take. More than 0; there is no default.
    duration limit{};
    /// Let a value through that came late, instead of reporting timed_out.
    bool keep_late = false;
    /// What is thrown instead of timeout_error; null, or one that throws, leaves it at that.
    std::function<std::exception_ptr(const failure&)> make_exception{};
};

/// What is wrong with a config, naming field, value and range; empty if nothing is.
inline std::string validate(const timeout_config& c) {
    if (c.limit > duration{0}) return {};
    return "timeout_config.limit is " + detail::duration_text(c.limit) + "; it must be more than 0";
}

/// Totals of a timeout since its creation.
struct timeout_stats {
    std::string name;
    std::uint64_t calls = 0;
    std::uint64_t in_time = 0;
    std::uint64_t timed_out = 0;
    /// Late, and let through by keep_late.
    std::uint64_t kept_late = 0;
    /// What failed inside, the callable or a refusal of a policy further in; it stays what it is, late or not.
    std::uint64_t failed = 0;
};

namespace detail {

inline std::string_view difference(const timeout_config& a, const timeout_config& b) {
    if (a.limit != b.limit) return "limit";
    if (a.keep_late != b.keep_late) return "keep_late";
    if ((a.make_exception == nullptr) != (b.make_exception == nullptr)) return "make_exception";
    return {};
}

class timeout_core final : public registered, public std::enable_shared_from_this<timeout_core> {
public:
    static constexpr std::string_view policy_kind = "timeout";
    enum counter : std::size_t { in_time, timed_out, kept_late, failed };

    timeout_core(timeout_config config, std::shared_ptr<environment> env)
        : registered(config.name, std::move(env)), label_(config.name),
          tick_(env_->clock().coarse_resolution()), coarse_from_(tick_ * 100), config_(std::move(config)) {}

    std::string_view kind() const noexcept override { return policy_kind; }
    policy_snapshot snapshot() const override {
        const timeout_stats s = stats();
        return {std::string(policy_kind),
                s.name,
                {{"calls", s.calls},
                 {"in_time", s.in_time},
                 {"timed_out", s.timed_out},
                 {"kept_late", s.kept_late},
                 {"failed", s.failed}}};
    }
    timeout_stats stats() const {
        timeout_stats s{name(),
                        0,
                        counts_.sum(in_time),
                        counts_.sum(timed_out),
                        counts_.sum(kept_late),
                        counts_.sum(failed)};
        s.calls = s.in_time + s.timed_out + s.kept_late + s.failed;
        return s;
    }
    const config_cell<timeout_config>& config() const noexcept { return config_; }
    void count(counter c) noexcept { counts_.add(c); }
    const detail::name& label() const noexcept { return label_; }
    void update(timeout_config config) {
        require_valid(validate(config));
        if (config.name != name())
            raise(std::invalid_argument("timeout_config.name is '" + config.name +
                                        "'; the name of a timeout is fixed: '" + name() + "'"));
        {
            const lock_guard lock(mutex_);
            config_.replace(std::move(config));
        }
        tell_updated();
    }

    /// When an attempt that begins now is late. Never early: on the coarse clock, which is behind by up
    /// to a tick, it is a tick later. The coarse clock serves where a tick is at most 1 % of the limit.
    RESILIENCE_INLINE time_point deadline(duration limit) const noexcept {
        const time_source& clock = env_->clock();
        if (coarse_from_ > limit) return saturating_add(clock.now(), limit);
        return saturating_add(saturating_add(clock.coarse_now(), tick_), limit);
    }
    /// Whether an attempt is late by now, asking the exact clock only where the coarse one cannot tell.
    RESILIENCE_INLINE bool is_late(duration limit, time_point deadline) const noexcept {
        const time_source& clock = env_->clock();
        if (coarse_from_ <= limit && saturating_add(clock.coarse_now(), tick_) <= deadline) [[likely]]
            return false;
        return clock.now() > deadline;
    }

private:
    const detail::name label_;
    const duration tick_;
    const duration coarse_from_; // limits of which a tick is at most 1 %
    config_cell<timeout_config> config_;
    striped_counters<4> counts_;
    mutex mutex_; // of updates, against each other
};

} // namespace detail

/// Gives an attempt a deadline, cooperatively: the callable sees it as ctx.remaining() for its socket,
/// as ctx.deadline(), or as ctx.stop_token(); nested calls inherit it. A value that comes after it is
/// reported as timed_out and dropped. A callable that ignores its context is only judged late, never
/// cut short: see abandoning_timeout for those that cannot be asked.
///
/// Deadlines nest: the inner is never later than the outer. A failure that comes late stays the failure
/// it is; only one that says cancelled, after ctx.stop_token() was requested by the deadline, is timed_out.
/// A value that comes exactly at the limit is in time. Thread-safe.
class timeout : public composable<timeout> {
public:
    static constexpr std::string_view kind = detail::timeout_core::policy_kind;

    explicit timeout(duration limit) : timeout(timeout_config{.limit = limit}) {}
    explicit timeout(timeout_config config) : timeout(std::move(config), registry::global()) {}
    timeout(duration limit, registry& where) : timeout(timeout_config{.limit = limit}, where) {}
    /// A name that the registry knows gives a handle to that policy, if the configs agree; otherwise
    /// std::invalid_argument names the field. An invalid config is a std::invalid_argument too.
    timeout(timeout_config config, registry& where) {
        detail::require_valid(validate(config));
        core_ = where.enroll<detail::timeout_core>(
            config.name, [&] { return std::make_shared<detail::timeout_core>(config, where.env()); });
        if (const auto field = detail::difference(core_->config().declared(), config); !field.empty()) {
            detail::raise(std::invalid_argument("timeout '" + config.name + "' exists already with another " +
                                                std::string(field)));
        }
    }

    timeout_stats stats() const { return core_->stats(); }
    const std::string& name() const noexcept { return core_->name(); }
    /// The config in force; valid as long as the policy lives, whatever updates follow.
    const timeout_config& config() const noexcept { return core_->config().get(); }
    /// New rules for attempts that begin from now on. Invalid: throws std::invalid_argument.
    void update(timeout_config config) const { core_->update(std::move(config)); }

    // What follows is for drivers.

    class attempt_state {
    public:
        explicit attempt_state(detail::timeout_core& core) noexcept
            : core_(&core), config_(&core.config().get()) {}
        attempt_state(detail::timeout_core& core, const timeout_config& config, time_point deadline,
                      time_point outer, duration outer_longest) noexcept
            : core_(&core), config_(&config), deadline_(deadline), outer_{outer, outer_longest, nullptr} {}
        attempt_state(const attempt_state&) = delete;
        attempt_state& operator=(const attempt_state&) = delete;

        admission admit(call_context& ctx) {
            deadline_ = core_->deadline(config_->limit);
            outer_ = ctx.narrow(deadline_, config_->limit);
            return admission::go();
        }
        settlement settle(const attempt_result& result, call_context& ctx) {
            ctx.restore(std::move(outer_));
            using core = detail::timeout_core;
            const auto raced =
                result.overran(deadline_); // whoever won a race is in time, whatever the clock says
            if (!result.succeeded()) {
                if (!raced.value_or(false) || result.error()->code() != errc::timed_out) {
                    core_->count(core::failed);
                    return settlement::finish();
                }
            } else if (!(raced ? *raced : core_->is_late(config_->limit, deadline_))) {
                core_->count(core::in_time);
                return settlement::finish();
            } else if (config_->keep_late) {
                core_->count(core::kept_late);
                return settlement::finish();
            }
            core_->count(core::timed_out);
            failure late(rejection{
                .code = errc::timed_out, .policy = core_->label(), .amount = config_->limit.count()});
            tell(late, ctx);
            if (config_->make_exception) customise(late);
            return settlement::replace(std::move(late));
        }

    private:
        void customise(failure& late) const {
            std::exception_ptr made; // stays null, and it is a timeout_error, if that throws
            detail::returned([&] { made = config_->make_exception(late); });
            late.set_exception(std::move(made));
        }
        void tell(const failure& late, const call_context& ctx) {
            const auto keep = core_->shared_from_this();
            core_->env()->tell([&] {
                event e{.kind = event_kind::timed_out,
                        .policy_kind = kind,
                        .policy = core_->name(),
                        .operation = std::string(ctx.operation())};
                e.attempt = ctx.attempt();
                e.delay = config_->limit;
                e.error_type = late.type_name();
                e.error = late.message();
                return e;
            });
        }

        detail::timeout_core* core_;
        const timeout_config* config_;
        time_point deadline_{};
        call_context::scope outer_{};
    };
    attempt_state begin(call_context&) const noexcept { return attempt_state(*core_); }

    struct fast_permit {
        const timeout_config* config; // the one that the call began with
        time_point deadline;
        time_point outer;
        duration outer_longest;
        explicit operator bool() const noexcept { return true; }
    };
    RESILIENCE_INLINE fast_permit try_begin(call_context& ctx) const noexcept {
        const timeout_config& config = core_->config().get();
        const time_point outer = ctx.deadline();
        const time_point deadline = core_->deadline(config.limit);
        const duration outer_longest = ctx.longest();
        ctx.tighten(deadline, config.limit);
        return {&config, deadline, outer, outer_longest};
    }
    RESILIENCE_INLINE bool in_time(const fast_permit& t) const noexcept {
        return !core_->is_late(t.config->limit, t.deadline);
    }
    RESILIENCE_INLINE void succeed(const fast_permit&) const noexcept {
        core_->count(detail::timeout_core::in_time);
    }
    void abandon(const fast_permit&) const noexcept {}
    attempt_state resume(const fast_permit& t, call_context&) const noexcept {
        return {*core_, *t.config, t.deadline, t.outer, t.outer_longest};
    }

    const detail::environment* env() const noexcept { return core_->env().get(); }
    static timeout from_registered(std::shared_ptr<detail::registered> found) {
        return timeout(std::static_pointer_cast<detail::timeout_core>(std::move(found)));
    }

private:
    explicit timeout(std::shared_ptr<detail::timeout_core> core) noexcept : core_(std::move(core)) {}

    std::shared_ptr<detail::timeout_core> core_;
};

}} // namespace resilience::RESILIENCE_ABI
