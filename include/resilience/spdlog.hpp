// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/quote.hpp>
#include <resilience/event.hpp>
#include <resilience/registry.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <spdlog/logger.h>

namespace resilience::inline RESILIENCE_ABI {

/// How events are logged.
struct log_options {
    /// Sees the text of every error first and returns what may be written. If it throws, the text is left
    /// out and the line says so. Called on the thread that caused the event, by several at once.
    std::function<std::string(std::string_view)> redact{};
    /// Bytes of each text that are written, after redaction. Errors may hold whole pages of HTML.
    std::size_t longest_text = 512;
};

namespace detail {

/// One line: a sentence, then key=value fields. Values that are more than a word are quoted, and whatever
/// could end or disguise the line is escaped, so that no text forges a field or another line.
class log_line {
public:
    explicit log_line(std::size_t longest_text) : longest_(longest_text) {}

    template <class... Args>
    log_line& say(fmt::format_string<Args...> sentence, Args&&... args) {
        fmt::format_to(std::back_inserter(text_), sentence, std::forward<Args>(args)...);
        return *this;
    }
    /// A name for the sentence, to be put between single quotes.
    std::string name(std::string_view text) const {
        return escaped(clipped(text, longest_), '\'', escaping::line);
    }

    log_line& field(std::string_view key, std::string_view value) {
        constexpr std::string_view plain =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:/";
        begin(key);
        if (!value.empty() && value.size() <= longest_ &&
            value.find_first_not_of(plain) == std::string_view::npos) {
            text_ += value;
            return *this;
        }
        text_ += '"';
        append_escaped(text_, clipped(value, longest_), '"', escaping::line);
        if (value.size() > longest_) text_ += "...";
        text_ += '"';
        return *this;
    }
    log_line& field(std::string_view key, std::unsigned_integral auto value) {
        begin(key);
        fmt::format_to(std::back_inserter(text_), "{}", value);
        return *this;
    }
    /// In seconds, so that programs can compare: 0.25s; `none` if there is none.
    log_line& field(std::string_view key, const std::optional<duration>& value) {
        if (!value) return field(key, "none");
        begin(key);
        fmt::format_to(std::back_inserter(text_), "{:.6g}s", std::chrono::duration<double>(*value).count());
        return *this;
    }
    log_line& if_any(std::string_view key, std::string_view value) {
        return value.empty() ? *this : field(key, value);
    }

    const std::string& text() const noexcept { return text_; }

private:
    void begin(std::string_view key) { text_.append(" ").append(key).append("="); }

    std::size_t longest_;
    std::string text_;
};

/// Trips and failed attempts warn, recovery informs, exhausted retries are errors.
inline spdlog::level::level_enum log_level(const event& e) noexcept {
    namespace level = spdlog::level;
    switch (e.kind) {
    case event_kind::retries_exhausted: return level::err;
    case event_kind::attempt_failed:
    case event_kind::budget_exhausted:
    case event_kind::would_have_tripped:
    case event_kind::timed_out:
    case event_kind::call_abandoned: return level::warn;
    case event_kind::state_changed:
        return e.to == circuit_state::open || e.to == circuit_state::forced_open ? level::warn : level::info;
    case event_kind::call_succeeded_after_retry:
    case event_kind::fallback_used:
    case event_kind::policy_updated: return level::info;
    case event_kind::retry_scheduled:                    // attempt_failed has told its delay
    case event_kind::call_rejected: return level::debug; // one per call while a circuit is open: many
    }
    return level::info;
}

constexpr std::string_view changed_to(circuit_state state) noexcept {
    switch (state) {
    case circuit_state::closed: return "closed";
    case circuit_state::open: return "opened";
    case circuit_state::half_open: return "half-opened";
    case circuit_state::disabled: return "disabled";
    case circuit_state::forced_open: return "forced open";
    case circuit_state::metrics_only: return "set to metrics only";
    }
    return "changed";
}

inline void write_retry(log_line& line, const event& e, std::string_view function) {
    switch (e.kind) {
    case event_kind::attempt_failed: line.say("Attempt {}/{} failed", e.attempt, e.max_attempts); break;
    case event_kind::retry_scheduled: line.say("Attempt {}/{} scheduled", e.attempt, e.max_attempts); break;
    case event_kind::call_succeeded_after_retry:
        line.say("Attempt {}/{} succeeded", e.attempt, e.max_attempts);
        break;
    case event_kind::retries_exhausted: line.say("All {} attempts failed", e.attempt); break;
    default: line.say("Retry budget exhausted after attempt {}/{}", e.attempt, e.max_attempts); break;
    }
    line.field("function", function).if_any("error_type", e.error_type);
    if (e.kind == event_kind::attempt_failed || e.kind == event_kind::retry_scheduled)
        line.field("retry_delay", e.delay);
    line.if_any("policy", e.policy);
    if (e.retry_depth > 0) line.field("retry_depth", e.retry_depth);
}
inline void write_circuit(log_line& line, const event& e, std::string_view error) {
    const bool changed = e.kind == event_kind::state_changed;
    line.say("Circuit breaker '{}' {}", line.name(e.policy),
             changed ? changed_to(e.to) : "would have opened");
    line.field("circuit_name", e.policy).field("failure_count", e.failure_count);
    if (e.to == circuit_state::closed) line.field("success_count", e.success_count);
    line.if_any("last_error", error).if_any("error_type", e.error_type);
    if (changed) line.field("from", to_string(e.from)).field("to", to_string(e.to));
    if (e.delay) line.field("recovery_timeout", e.delay);
    line.if_any("reason", e.reason).field("generation", e.generation);
}
inline void write_other(log_line& line, const event& e, std::string_view function) {
    const auto by = [&] {
        return e.policy.empty() ? std::string(e.policy_kind)
                                : fmt::format("{} '{}'", e.policy_kind, line.name(e.policy));
    };
    switch (e.kind) {
    case event_kind::call_rejected: line.say("Call rejected by {}", by()); break;
    case event_kind::timed_out: line.say("Call timed out"); break;
    case event_kind::call_abandoned: line.say("Call abandoned, it is still running"); break;
    case event_kind::fallback_used: line.say("Fallback used"); break;
    case event_kind::policy_updated: line.say("Config of {} updated", by()); break;
    default: line.say("{}", to_string(e.kind)); break;
    }
    line.if_any("function", function).if_any("policy_kind", e.policy_kind).if_any("policy", e.policy);
    line.if_any("error_type", e.error_type);
    if (e.kind == event_kind::call_rejected) line.field("retry_after", e.delay);
    else if (e.delay) line.field("limit", e.delay);
}

/// The error's text as it may be written.
inline std::string redacted(const event& e, const log_options& options) {
    if (!options.redact || e.error.empty()) return e.error;
    try {
        return options.redact(e.error);
    } catch (...) { // better no text than one that was to be hidden
        return "[the redaction failed]";
    }
}

inline std::string line_of(const event& e, const log_options& options) {
    log_line line(options.longest_text);
    const std::string error = redacted(e, options);
    const std::string& function = e.operation.empty() ? e.policy : e.operation;
    switch (e.kind) {
    case event_kind::state_changed:
    case event_kind::would_have_tripped: write_circuit(line, e, error); break;
    case event_kind::attempt_failed:
    case event_kind::retry_scheduled:
    case event_kind::call_succeeded_after_retry:
    case event_kind::retries_exhausted:
    case event_kind::budget_exhausted:
        write_retry(line, e, function);
        line.if_any(e.kind == event_kind::retries_exhausted ? "last_error" : "error", error)
            .if_any("reason", e.reason);
        break;
    default:
        write_other(line, e, function);
        line.if_any("error", error).if_any("reason", e.reason);
        break;
    }
    return line.text();
}

} // namespace detail

/// Writes one structured line for every event of the registry, until what it returns is destroyed:
///
///     Attempt 1/3 failed function=search_issues error_type=http_error retry_delay=0.83s ...
///     Circuit breaker 'jira_api' opened circuit_name=jira_api failure_count=5 last_error="HTTP 503" ...
///
/// `function` is the operation given with named(), else the policy's name. Levels: warn for failed attempts,
/// time-outs and trips, error for exhausted retries, info for recovery, debug for rejections.
/// Lines are written on the thread that causes the event; use an asynchronous logger if its sinks are slow.
/// A logger, sink or redact that throws disturbs no call. What is caused from inside a sink or redact on
/// the same thread is not logged: the sink's lock is held then. Throws std::invalid_argument without a logger.
[[nodiscard]] inline subscription log_events(registry& where, std::shared_ptr<spdlog::logger> logger,
                                             log_options options = {}) {
    if (!logger) throw std::invalid_argument("log_events: logger is null; it must be one to write to");
    return where.subscribe([logger = std::move(logger), options = std::move(options)](const event& e) {
        static thread_local constinit bool logging = false;
        const auto level = detail::log_level(e);
        if (logging || !logger->should_log(level)) return;
        struct scope {
            scope() noexcept { logging = true; }
            ~scope() { logging = false; }
        } const here;
        // What is thrown ends at the registry, which counts it.
        logger->log(level, spdlog::string_view_t(detail::line_of(e, options)));
    });
}

} // namespace resilience::inline RESILIENCE_ABI
