// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <system_error>
#include <utility>

namespace bench {

/// An expected-like result, so that the benchmarks need no library for one.
class result {
public:
    struct unexpected_type {
        std::error_code code;
        explicit unexpected_type(std::error_code c) : code(c) {}
    };
    result(int value) : value_(value) {}                    // NOLINT(google-explicit-constructor)
    result(unexpected_type u) : value_(0), code_(u.code) {} // NOLINT(google-explicit-constructor)

    bool has_value() const noexcept { return !code_; }
    int value() const noexcept { return value_; }
    const std::error_code& error() const noexcept { return code_; }

private:
    int value_;
    std::error_code code_;
};

} // namespace bench
