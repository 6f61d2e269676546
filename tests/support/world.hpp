// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/failure.hpp>
#include <resilience/error.hpp>
#include <resilience/registry.hpp>
#include <resilience/retry/config.hpp>
#include <resilience/testing/fixed_random.hpp>
#include <resilience/testing/virtual_clock.hpp>

#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>

namespace support {

/// A registry with virtual time and randomness that can be foretold.
struct world {
    explicit world(std::initializer_list<double> numbers = {0.5}) : random(numbers) {}

    resilience::testing::virtual_clock clock;
    resilience::testing::fixed_random random;
    resilience::registry reg{clock, random};
};

/// Attempts after delays of 1s, 2s, 4s, ... exactly; every retry is paid for.
inline resilience::retry_config plain(unsigned max_attempts = 3) {
    return {.max_attempts = max_attempts,
            .jitter = resilience::jitter::none,
            .budget = resilience::retry_budget::unlimited()};
}
/// Attempts with no delay between them; every retry is paid for.
inline resilience::retry_config at_once(unsigned max_attempts = 3) {
    auto config = plain(max_attempts);
    config.base_delay = resilience::duration{0};
    return config;
}

/// An exception that stands for an HTTP answer.
class http_error : public std::runtime_error, public resilience::http_carrier {
public:
    explicit http_error(int status, std::optional<resilience::duration> hint = {})
        : std::runtime_error("HTTP " + std::to_string(status)), status_(status), hint_(hint) {}
    int http_status() const noexcept override { return status_; }
    std::optional<resilience::duration> retry_after() const noexcept override { return hint_; }

private:
    int status_;
    std::optional<resilience::duration> hint_;
};

/// A returned HTTP answer; status 0: none came.
struct http_answer {
    int status = 200;
    std::optional<resilience::duration> hint{};

    friend std::optional<int> http_status_of(const http_answer& a) {
        return a.status == 0 ? std::nullopt : std::optional<int>(a.status);
    }
    friend std::optional<resilience::duration> retry_after_of(const http_answer& a) { return a.hint; }
};

} // namespace support
