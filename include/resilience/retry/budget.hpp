// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/mechanism/percent_budget.hpp>
#include <resilience/mechanism/token_budget.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Pays for retries, so that a storm of them cannot start. By default each retry policy has a budget of its
/// own that allows 20 % of its calls and 10 a second more. Policies that are given copies of a budget made
/// from a config share it. Thread-safe.
class retry_budget {
public:
    /// The default: a percent_budget_config{} of the policy's own.
    retry_budget() noexcept = default;
    /// A share of calls plus a minimum. Throws std::invalid_argument if the config is not valid.
    explicit retry_budget(const percent_budget_config& config);
    /// gRPC's throttle (gRFC A6): a failure costs a token, a success adds a part of one, and retries are paid
    /// for while more than half of the tokens are left. Throws std::invalid_argument likewise.
    explicit retry_budget(const token_budget_config& config);
    // clang-format off: compilers show the line with its remark
    template <int = 0>
    explicit retry_budget(...) = delete; // resilience: this is no config of a budget: a field is misspelt or of another type; retry_budget(percent_budget_config{...}) makes the compiler name it
    template <class T>
        requires(!std::derived_from<T, retry_budget> && !std::same_as<T, percent_budget_config> &&
                 !std::same_as<T, token_budget_config>)
    retry_budget(const T&) = delete; // resilience: a budget is made by retry_budget(percent_budget_config{...}), retry_budget(token_budget_config{...}) or retry_budget::unlimited()
    // clang-format on
    /// Pays for every retry: for tests, and for programs that limit retries elsewhere.
    static retry_budget unlimited() {
        retry_budget none;
        none.unlimited_ = true;
        return none;
    }

    bool is_unlimited() const noexcept { return unlimited_; }
    /// True if made without a config: the policy makes its own.
    bool is_default() const noexcept { return !unlimited_ && shared_ == nullptr; }
    /// Copies of one budget are equal, and so are two defaults.
    friend bool operator==(const retry_budget&, const retry_budget&) = default;

    // For retry.

    /// Totals that one policy has reported so far, and when. The time starts at the policy's creation, so that
    /// an hour of calls is not taken for a burst. Guarded by the budget's mutex.
    struct reported {
        std::uint64_t calls = 0;
        std::uint64_t successes = 0;
        time_point at{};
    };
    /// Totals of one policy, read from its stripes before the lock is taken.
    struct totals {
        std::uint64_t calls;
        std::uint64_t successes;
    };
    /// True if a failed attempt costs a token, as in gRPC's form.
    bool counts_failures() const noexcept;
    /// Precondition: counts_failures().
    void attempt_failed(reported& mine, totals now_counted) const;
    /// True if a retry is paid for.
    [[nodiscard]] bool withdraw(reported& mine, totals now_counted, time_point now) const;
    /// Retries that the budget would pay for now; empty if unlimited. It knows the calls of this policy up to
    /// now, and those of others that share it as of their last retry or look.
    std::optional<double> left(reported& mine, totals now_counted, time_point now) const;

private:
    struct account;
    static void report_successes(token_budget& tokens, reported& mine, totals now_counted);
    static void report_calls(percent_budget& percent, reported& mine, totals now_counted, time_point now);
    std::shared_ptr<account> shared_;
    bool unlimited_ = false;
};

#if RESILIENCE_BODIES
struct retry_budget::account {
    explicit account(const std::variant<percent_budget, token_budget>& f) : form(f) {}
    detail::mutex mutex;
    std::variant<percent_budget, token_budget> form; // guarded by mutex; the alternative never changes
};
RESILIENCE_FUNCTION void retry_budget::report_successes(token_budget& tokens, reported& mine,
                                                        totals now_counted) {
    tokens.succeeded(now_counted.successes - std::min(now_counted.successes, mine.successes));
    mine.successes = std::max(mine.successes, now_counted.successes);
}
RESILIENCE_FUNCTION void retry_budget::report_calls(percent_budget& percent, reported& mine,
                                                    totals now_counted, time_point now) {
    const std::uint64_t fresh = now_counted.calls - std::min(now_counted.calls, mine.calls);
    percent.deposit(fresh, elapsed_between(mine.at, now), now);
    mine.calls = std::max(mine.calls, now_counted.calls);
    mine.at = now;
}
RESILIENCE_FUNCTION void retry_budget::attempt_failed(reported& mine, totals now_counted) const {
    const detail::lock_guard lock(shared_->mutex);
    auto& tokens = std::get<token_budget>(shared_->form);
    report_successes(tokens, mine, now_counted);
    tokens.failed();
}
RESILIENCE_FUNCTION bool retry_budget::withdraw(reported& mine, totals now_counted, time_point now) const {
    if (unlimited_) return true;
    const detail::lock_guard lock(shared_->mutex);
    if (auto* tokens = std::get_if<token_budget>(&shared_->form)) {
        report_successes(*tokens, mine, now_counted);
        return tokens->permits_retry();
    }
    auto& percent = std::get<percent_budget>(shared_->form);
    report_calls(percent, mine, now_counted, now);
    return percent.withdraw(now);
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::optional<double> retry_budget::left(reported& mine,
                                                                             totals now_counted,
                                                                             time_point now) const {
    if (unlimited_ || !shared_) return std::nullopt;
    const detail::lock_guard lock(shared_->mutex);
    if (auto* tokens = std::get_if<token_budget>(&shared_->form)) {
        report_successes(*tokens, mine, now_counted);
        return tokens->retries_left();
    }
    auto& percent = std::get<percent_budget>(shared_->form);
    report_calls(percent, mine, now_counted, now);
    return percent.available(now);
}
RESILIENCE_COLD RESILIENCE_FUNCTION retry_budget::retry_budget(const percent_budget_config& config) {
    detail::require_valid(validate(config));
    shared_ = std::make_shared<account>(percent_budget(config));
}
RESILIENCE_COLD RESILIENCE_FUNCTION retry_budget::retry_budget(const token_budget_config& config) {
    detail::require_valid(validate(config));
    shared_ = std::make_shared<account>(token_budget(config));
}
RESILIENCE_FUNCTION bool retry_budget::counts_failures() const noexcept {
    return shared_ && std::holds_alternative<token_budget>(shared_->form);
}
#endif

}} // namespace resilience::RESILIENCE_ABI
