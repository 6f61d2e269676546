// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/adapters/spdlog_options.hpp>
#include <resilience/detail/quote.hpp>
#include <resilience/detail/redacted.hpp>
#include <resilience/environment/labels.hpp>
#include <resilience/event.hpp>
#include <resilience/retry/config.hpp>

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A log line: a sentence and fields. Values that are more than a word are quoted. Characters that could end
/// or disguise the line are escaped, in JSON too, so that no text can forge a field or another line.
class log_line {
public:
    explicit log_line(const log_options& options) : options_(&options) {}

    template <class... Args>
    log_line& say(fmt::format_string<Args...> sentence, Args&&... args) {
        fmt::format_to(std::back_inserter(sentence_), sentence, std::forward<Args>(args)...);
        return *this;
    }
    /// A name for the sentence, to be put between single quotes.
    std::string name(std::string_view text) const {
        return escaped(clipped(text, options_->longest_text), '\'', escaping::line);
    }

    log_line& field(std::string_view key, std::string_view value) {
        constexpr std::string_view plain =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.:/";
        if (!begin(key)) return *this;
        const std::size_t longest = options_->longest_text;
        if (!is_json() && !value.empty() && value.size() <= longest &&
            value.find_first_not_of(plain) == std::string_view::npos) {
            fields_ += value;
            return *this;
        }
        fields_ += '"';
        append_escaped(fields_, clipped(value, longest), '"', escaping::line);
        if (value.size() > longest) fields_ += "...";
        fields_ += '"';
        return *this;
    }
    log_line& field(std::string_view key, std::unsigned_integral auto value) {
        if (begin(key)) fmt::format_to(std::back_inserter(fields_), "{}", value);
        return *this;
    }
    /// Adds a duration in seconds, so that programs can compare, with three significant digits: 0.833s, in JSON
    /// 0.833. No value is `none`, in JSON null.
    log_line& field(std::string_view key, const std::optional<duration>& value) {
        if (!begin(key)) return *this;
        if (!value) {
            fields_ += is_json() ? "null" : "none";
            return *this;
        }
        const double seconds = std::chrono::duration<double>(*value).count();
        if (seconds < 100) fmt::format_to(std::back_inserter(fields_), "{:.3g}", seconds);
        else fmt::format_to(std::back_inserter(fields_), "{:.0f}", seconds); // 1234s, not 1.23e+03s
        if (!is_json()) fields_ += 's';
        return *this;
    }
    log_line& if_any(std::string_view key, std::string_view value) {
        return value.empty() ? *this : field(key, value);
    }
    /// A field for each label: labels.team=tickets. The dot keeps them apart from fields of ours.
    log_line& labels(const shared_labels& all) {
        if (all.empty() || !is_wanted("labels")) return *this;
        for (const auto& [name, value] : all) field("labels." + name, value);
        return *this;
    }

    std::string text() const {
        if (!is_json()) return sentence_ + fields_;
        return "{\"message\":\"" + escaped(sentence_, '"', escaping::line) + "\"" + fields_ + "}";
    }

private:
    bool is_json() const noexcept { return options_->format == log_format::json; }
    bool is_wanted(std::string_view key) const {
        return std::ranges::find(options_->leave_out, key) == options_->leave_out.end();
    }
    /// Begins a field. False if the options leave it out.
    bool begin(std::string_view key) {
        if (!is_wanted(key)) return false;
        if (is_json()) fields_.append(",\"").append(key).append("\":");
        else fields_.append(" ").append(key).append("=");
        return true;
    }

    const log_options* options_;
    std::string sentence_;
    std::string fields_;
};

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
    const std::string most =
        e.max_attempts == unlimited_attempts ? "unlimited" : std::to_string(e.max_attempts);
    switch (e.kind) {
    case event_kind::attempt_failed: line.say("Attempt {}/{} failed", e.attempt, most); break;
    case event_kind::retry_scheduled: line.say("Attempt {}/{} scheduled", e.attempt, most); break;
    case event_kind::call_succeeded_after_retry: line.say("Attempt {}/{} succeeded", e.attempt, most); break;
    case event_kind::repeated_transparently:
        line.say("Attempt {}/{} repeated, its connection was stale", e.attempt, most);
        break;
    case event_kind::retries_exhausted: line.say("All {} attempts failed", e.attempt); break;
    default: line.say("Retry budget exhausted after attempt {}/{}", e.attempt, most); break;
    }
    line.field("function", function).if_any("error_type", e.error_type);
    if (e.timed_out) line.field("timed_out", "true");
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
    case event_kind::would_have_rejected: line.say("Call would have been rejected by {}", by()); break;
    case event_kind::timed_out: line.say("Call timed out"); break;
    case event_kind::call_abandoned: line.say("Call abandoned, it is still running"); break;
    case event_kind::overran: line.say("Call outran twice its limit"); break;
    case event_kind::fallback_used: line.say("Fallback used"); break;
    case event_kind::probe_succeeded_late: line.say("Probe of {} succeeded after its lease", by()); break;
    case event_kind::policy_updated: line.say("Config of {} updated", by()); break;
    default: line.say("{}", to_string(e.kind)); break;
    }
    line.if_any("function", function).if_any("policy_kind", e.policy_kind).if_any("policy", e.policy);
    line.if_any("error_type", e.error_type);
    if (e.kind == event_kind::call_rejected || e.kind == event_kind::would_have_rejected)
        line.field("retry_after", e.delay);
    else if (e.kind == event_kind::probe_succeeded_late) line.field("late_by", e.delay);
    else if (e.delay) line.field("limit", e.delay);
}

/// The line for an event. `suppressed` is the number of lines of this kind that were left out before this
/// one.
inline std::string line_of(const event& e, const log_options& options, std::uint64_t suppressed) {
    log_line line(options);
    const std::string error = redacted(options.redact, e.error);
    const std::string& function = e.operation.empty() ? e.policy : e.operation;
    switch (e.kind) {
    case event_kind::state_changed:
    case event_kind::would_have_tripped: write_circuit(line, e, error); break;
    case event_kind::attempt_failed:
    case event_kind::retry_scheduled:
    case event_kind::call_succeeded_after_retry:
    case event_kind::retries_exhausted:
    case event_kind::budget_exhausted:
    case event_kind::repeated_transparently:
        write_retry(line, e, function);
        line.if_any(e.kind == event_kind::retries_exhausted ? "last_error" : "error", error);
        break;
    default:
        write_other(line, e, function);
        line.if_any("error", error);
        break;
    }
    const bool of_circuit = e.kind == event_kind::state_changed || e.kind == event_kind::would_have_tripped;
    if (!of_circuit) {
        line.if_any("first_error_type", e.first_error_type);
        line.if_any("first_error", redacted(options.redact, e.first_error)).if_any("reason", e.reason);
    }
    line.if_any("correlation", e.correlation).labels(e.labels);
    if (suppressed > 0) line.field("suppressed", suppressed);
    return line.text();
}

}}} // namespace resilience::RESILIENCE_ABI::detail
