// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/mechanism/count_tally.hpp>
#include <resilience/mechanism/failure_window.hpp>
#include <resilience/mechanism/rate_window.hpp>
#include <resilience/mechanism/tally.hpp>
#include <resilience/mechanism/time_buckets.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The rules that can trip a circuit. Any one of them that is set is enough.
struct breaker_rules_config {
    std::optional<unsigned> failure_threshold;
    duration failure_window;
    std::optional<unsigned> consecutive_failures;
    std::optional<double> failure_rate_threshold;
    std::optional<double> slow_call_rate_threshold;
    std::variant<count_window, time_window> window;
    unsigned minimum_calls;

    bool has_rates() const noexcept { return failure_rate_threshold || slow_call_rate_threshold; }
    bool has_time_window() const noexcept { return std::holds_alternative<time_window>(window); }
    /// The size of a count window; 0 for a time window.
    std::uint64_t most_results() const noexcept {
        const auto* count = std::get_if<count_window>(&window);
        return count != nullptr ? count->size : 0;
    }
    /// A count window smaller than minimum_calls is judged when full. Else it would never be.
    std::uint64_t calls_to_judge() const noexcept {
        const auto* count = std::get_if<count_window>(&window);
        return count != nullptr ? std::min<std::uint64_t>(minimum_calls, count->size) : minimum_calls;
    }
};

/// True if `part` of `total` is at least `share`, which is in (0, 1]. The division rounds as the one did that made
/// the share: 2 of 3 reach 2.0 / 3, 7 of 100 reach 0.07. A share that was added up (0.1 + 0.2) may be off by a few
/// units in its last place, which no window of less than 10^7 results can tell from nothing.
constexpr bool reaches(std::uint64_t part, std::uint64_t total, double share) noexcept {
    if (share >= 1.0) return part >= total && part > 0; // doubles would round almost all to all
    constexpr double as_good_as = 1.0 - 4 * std::numeric_limits<double>::epsilon();
    return part > 0 && static_cast<double>(part) / static_cast<double>(total) >= share * as_good_as;
}

/// Remembers the results of a closed circuit and judges if they trip it. Pure: the moment, the position in
/// the sequence of results and the counts of successes kept elsewhere are arguments. Not thread-safe.
///
/// A rate window is made when a config first uses it. Functions that tell of a window may be called while the
/// config uses it.
class breaker_rules {
public:
    /// The memory of a config.
    struct windows {
        failure_window failures;
        std::unique_ptr<count_tally> counted;  // null unless the config uses it
        std::unique_ptr<time_buckets> buckets; // null unless the config is the first that uses it
    };

    RESILIENCE_COLD explicit breaker_rules(const breaker_rules_config& config)
        : config_(config), failures_(config.failure_threshold.value_or(1), config.failure_window),
          counted_(uses_count(config) ? std::make_unique<count_tally>(size_of(config)) : nullptr),
          buckets_(uses_time(config) ? std::make_unique<time_buckets>(length_of(config)) : nullptr) {}

    static bool uses_count(const breaker_rules_config& c) { return c.has_rates() && !c.has_time_window(); }
    static bool uses_time(const breaker_rules_config& c) { return c.has_rates() && c.has_time_window(); }

    /// The name of the rule that is met; null if none is.
    using tripped_by = const char*;

    /// `position` is the result's place in the sequence of results (count window). `successes_so_far` is a
    /// running count, see end_row(): the row that is judged next includes this failure, whatever is counted
    /// meanwhile.
    void record(bad_result result, time_point now, std::uint64_t position, std::uint64_t successes_so_far) {
        if (result.failed) {
            if (config_.failure_threshold) failures_.record(now);
            end_row(successes_so_far);
            ++consecutive_;
        }
        if (!config_.has_rates()) return;
        if (config_.has_time_window())
            buckets_->record(bucket_at(now), result.failed ? 0 : 1, result.failed ? 1 : 0,
                             result.slow ? 1 : 0);
        else counted_->record(position, result);
    }

    /// Ends the row of failures if the running count of successes has moved. To be called before the rules are
    /// judged, or their failures read, for any other reason than a failure.
    void end_row(std::uint64_t successes_so_far) noexcept {
        if (successes_so_far == successes_in_row_) return;
        consecutive_ = 0;
        successes_in_row_ = successes_so_far;
    }

    /// The number of the current time bucket. Also remembers the first bucket since the window was cleared.
    std::uint32_t bucket_at(time_point now) noexcept {
        const std::uint32_t number = buckets_->number_at(now);
        if (!first_bucket_) first_bucket_ = number;
        return number;
    }
    std::uint32_t first_bucket() const noexcept { return first_bucket_.value_or(0); }
    time_point end_of_bucket(std::uint32_t number) const noexcept { return buckets_->end_of(number); }

    tripped_by judge(time_point now, const tally& rates) const {
        if (config_.failure_threshold && failures_.count(now) >= *config_.failure_threshold)
            return "failure_threshold";
        if (config_.consecutive_failures && consecutive_ >= *config_.consecutive_failures)
            return "consecutive_failures";
        return judge_rates(rates);
    }
    tripped_by judge_rates(const tally& rates) const {
        if (rates.total < config_.calls_to_judge()) return nullptr;
        if (config_.failure_rate_threshold &&
            reaches(rates.failed, rates.total, *config_.failure_rate_threshold)) {
            return "failure_rate_threshold";
        }
        if (config_.slow_call_rate_threshold &&
            reaches(rates.slow, rates.total, *config_.slow_call_rate_threshold)) {
            return "slow_call_rate_threshold";
        }
        return nullptr;
    }
    window_fill fill_of(const tally& rates) const noexcept {
        const bool may_trip_by_success = config_.has_rates() && rates.total < config_.calls_to_judge() &&
                                         (rates.failed > 0 || rates.slow > 0);
        return may_trip_by_success ? window_fill::below_minimum_calls : window_fill::enough_calls;
    }

    /// The rate window. A window of time lacks the successes that stripes count.
    tally last_results(std::uint64_t next_position) const { return counted_->at(next_position); }
    tally results_until(std::uint32_t bucket) const { return buckets_->at(bucket); }

    std::uint64_t failures(time_point now, const tally& rates) const {
        if (config_.failure_threshold) return failures_.count(now);
        return config_.consecutive_failures ? consecutive_ : rates.failed;
    }
    void clear(std::uint64_t next_position, std::uint64_t successes_so_far) {
        failures_.clear();
        consecutive_ = 0;
        successes_in_row_ = successes_so_far;
        if (counted_) counted_->clear(next_position);
        clear_buckets();
    }
    /// True if update() would begin new time buckets in place of those in use; successes counted elsewhere keep the old
    /// numbers.
    bool would_renumber(const breaker_rules_config& config) const {
        return uses_time(config_) && length_of(config) != length_of(config_);
    }
    /// Adds successes of a bucket that were counted elsewhere.
    void take_over(std::uint32_t bucket, std::uint64_t successes) {
        buckets_->record(bucket, successes, 0, 0);
    }
    /// The windows for another config, with the results that still fit into them. May throw; changes nothing.
    RESILIENCE_COLD windows windows_for(const breaker_rules_config& config,
                                        std::uint64_t next_position) const {
        const bool lacks_buckets = uses_time(config) && !buckets_;
        return {failures_.resized(config.failure_threshold.value_or(1), config.failure_window),
                counted_for(config, next_position),
                lacks_buckets ? std::make_unique<time_buckets>(length_of(config)) : nullptr};
    }
    /// Applies a new config, for which the windows were made since the last result.
    RESILIENCE_COLD void update(const breaker_rules_config& config, windows made, time_point now) noexcept {
        failures_ = std::move(made.failures);
        counted_ = std::move(made.counted);
        if (!buckets_) buckets_ = std::move(made.buckets);
        // A window that was not in use has not followed the results.
        if (!uses_time(config_)) clear_buckets();
        if (buckets_ && length_of(config) != length_of(config_)) {
            buckets_->resize(length_of(config), now);
            first_bucket_.reset();
        }
        config_ = config;
    }
    void update(const breaker_rules_config& config, std::uint64_t next_position, time_point now) {
        update(config, windows_for(config, next_position), now);
    }
    const breaker_rules_config& config() const noexcept { return config_; }

private:
    static std::uint32_t size_of(const breaker_rules_config& c) {
        return static_cast<std::uint32_t>(c.most_results());
    }
    static duration length_of(const breaker_rules_config& c) {
        const auto* time = std::get_if<time_window>(&c.window);
        return time != nullptr ? time->length : std::chrono::seconds{60};
    }
    RESILIENCE_COLD std::unique_ptr<count_tally> counted_for(const breaker_rules_config& c,
                                                             std::uint64_t next_position) const {
        if (!uses_count(c)) return nullptr;
        auto counted = std::make_unique<count_tally>(counted_ ? counted_->resized(size_of(c), next_position)
                                                              : count_tally(size_of(c)));
        if (!counted_) counted->clear(next_position);
        return counted;
    }
    void clear_buckets() noexcept {
        if (buckets_) buckets_->clear();
        first_bucket_.reset();
    }

    breaker_rules_config config_;
    failure_window failures_;
    std::unique_ptr<count_tally> counted_;      // null unless the config uses it
    std::unique_ptr<time_buckets> buckets_;     // null until a config uses it, then kept: its numbers ascend
    std::optional<std::uint32_t> first_bucket_; // since the window was cleared
    std::uint64_t consecutive_ = 0;             // failures in a row
    std::uint64_t successes_in_row_ = 0;        // the running count as of its last failure
};

}} // namespace resilience::RESILIENCE_ABI
