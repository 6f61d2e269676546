// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/adapters/spdlog_line.hpp>
#include <resilience/adapters/spdlog_options.hpp>
#include <resilience/call/error.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/event.hpp>
#include <resilience/mechanism/line_sample.hpp>
#include <resilience/registry.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include <spdlog/logger.h>

namespace resilience { inline namespace RESILIENCE_ABI {

namespace detail {

/// Counts lines by the kind of event, without a lock.
class log_sampler {
public:
    explicit log_sampler(const log_sampling& rules) noexcept : rules_(rules) {}

    /// The number of lines of this kind left out since the last that was written; empty if this one is left
    /// out too.
    std::optional<std::uint64_t> admit(event_kind kind, time_point now) noexcept {
        if (kind == event_kind::state_changed) return 0;
        counts& c = counts_[static_cast<std::size_t>(kind)];
        // Relaxed: no other data depends on the word.
        sample_word word = c.word.load(std::memory_order_relaxed);
        sample_step step{};
        do {
            step = sampled(word, now, rules_.period, rules_.first, rules_.then_every);
        } while (!c.word.compare_exchange_weak(word, step.next, std::memory_order_relaxed));
        if (step.chosen) return c.suppressed.exchange(0, std::memory_order_relaxed);
        c.suppressed.fetch_add(1, std::memory_order_relaxed);
        return std::nullopt;
    }

private:
    static constexpr std::size_t kinds = static_cast<std::size_t>(event_kind::policy_updated) + 1;
    struct counts {
        atomic<sample_word> word{0}; // any value that sampled() returned
        // Lines left out and not yet reported. Relaxed: a later line reports each of them once.
        atomic<std::uint64_t> suppressed{0};
    };

    const log_sampling rules_;
    std::array<counts, kinds> counts_{};
};

/// The listener behind log_events.
class event_logger {
public:
    event_logger(registry& where, std::shared_ptr<spdlog::logger> logger, log_options options)
        : env_(where.env()), logger_(std::move(logger)), options_(std::move(options)) {
        if (options_.sample) sampler_.emplace(*options_.sample);
    }
    /// An exception of the logger or the options goes to the registry, which counts it.
    void write(const event& e) {
        static thread_local constinit bool logging = false;
        if (logging) return;
        if (e.is_told_again) return; // a final failure is one line
        struct scope {
            scope() noexcept { logging = true; }
            ~scope() { logging = false; }
        } const here;
        const auto level = options_.level_of ? options_.level_of(e) : default_log_level(e);
        if (level == spdlog::level::off || !logger_->should_log(level)) return;
        std::uint64_t suppressed = 0;
        if (sampler_) {
            const auto left_out = sampler_->admit(e.kind, env_->clock().now());
            if (!left_out) return;
            suppressed = *left_out;
        }
        logger_->log(level, spdlog::string_view_t(line_of(e, options_, suppressed)));
    }

private:
    const std::shared_ptr<environment> env_;
    const std::shared_ptr<spdlog::logger> logger_;
    const log_options options_;
    std::optional<log_sampler> sampler_;
};

} // namespace detail

/// Writes a structured line for every event of the registry, one for a final failure (see event::is_told_again), until the
/// subscription that it returns is destroyed:
///
///     Attempt 1/3 failed function=search_issues error_type=http_error retry_delay=0.833s ...
///     Circuit breaker 'jira_api' opened circuit_name=jira_api failure_count=5 last_error="HTTP 503" ...
///
/// `function` is the operation given with named(), else the policy's name. Levels: warn for failed attempts,
/// time-outs and trips, error for exhausted retries, info for recovery, debug for rejections, unless
/// log_options::level_of decides otherwise. Lines are written on the thread that causes the event; use an
/// asynchronous logger if its sinks are slow. If a logger, sink or function of the options throws, no call is
/// affected. Events that these cause on their own thread are not logged, since the sink's lock is held then.
/// Throws std::invalid_argument without a logger and for options that are not valid. The registry's clock
/// must outlive the subscription.
[[nodiscard]] inline subscription log_events(registry& where, std::shared_ptr<spdlog::logger> logger,
                                             log_options options = {}) {
    if (!logger)
        detail::raise(std::invalid_argument("log_events: logger is null; it must be one to write to"));
    detail::require_valid(validate(options));
    const auto writer = std::make_shared<detail::event_logger>(where, std::move(logger), std::move(options));
    return where.subscribe([writer](const event& e) { writer->write(e); });
}

}} // namespace resilience::RESILIENCE_ABI
