// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/random.hpp>
#include <resilience/config.hpp>
#include <resilience/detail/sync.hpp>

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <ranges>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI { namespace testing {

/// A random source that returns given numbers: `fixed_random{0.5}`, or a list that is repeated for ever. Any
/// thread may use it.
class fixed_random : public random_source {
public:
    /// Throws std::invalid_argument if the list is empty or a number is not in [0, 1).
    fixed_random(std::initializer_list<double> numbers) : fixed_random(std::vector<double>(numbers)) {}
    /// Takes the numbers of a range.
    template <std::ranges::input_range Numbers>
        requires std::convertible_to<std::ranges::range_reference_t<Numbers>, double>
    explicit fixed_random(Numbers&& numbers) : fixed_random(listed(numbers)) {}
    explicit fixed_random(std::vector<double> numbers) : numbers_(std::move(numbers)) {
        if (numbers_.empty()) detail::raise(std::invalid_argument("fixed_random: needs at least one number"));
        for (const double number : numbers_) {
            if (number >= 0.0 && number < 1.0) continue; // so NaN is refused too
            detail::raise(
                std::invalid_argument("fixed_random: " + std::to_string(number) + " is not in [0, 1)"));
        }
    }

    double uniform() noexcept override {
        return numbers_[draws_.fetch_add(1, std::memory_order_relaxed) % numbers_.size()];
    }

    /// The number of draws so far.
    std::size_t draws() const noexcept { return draws_.load(std::memory_order_relaxed); }

private:
    template <class Numbers>
    static std::vector<double> listed(Numbers& numbers) {
        std::vector<double> all;
        for (auto&& number : numbers) all.push_back(static_cast<double>(number));
        return all;
    }

    const std::vector<double> numbers_;
    detail::atomic<std::size_t> draws_{0}; // relaxed: no other data depends on the count
};

}}} // namespace resilience::RESILIENCE_ABI::testing
