// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/detail/platform.hpp>

#include <algorithm>
#include <cstdint>
#include <string>

#if RESILIENCE_BODIES
#include <resilience/detail/complaint.hpp>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// Permits retries while most attempts succeed, as the throttling of gRFC A6 does. The defaults are those of
/// its example.
struct token_budget_config {
    /// The tokens at the start, which are also the most. Retries stop at half of them.
    unsigned max_tokens = 10;
    /// The tokens that a success gives back; decimals beyond the third are ignored. With 0.1 retries can go
    /// on for ever only while there are ten successes to a failure.
    double token_ratio = 0.1;

    friend bool operator==(const token_budget_config&, const token_budget_config&) = default;
};

/// A complaint about the config; empty if it is valid.
std::string validate(const token_budget_config& config);
#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::string validate(const token_budget_config& config) {
    using detail::complaint;
    if (config.max_tokens < 1 || config.max_tokens > 1000)
        return complaint("token_budget_config.max_tokens", config.max_tokens, "in [1, 1000]");
    if (!(config.token_ratio >= 0.001 && config.token_ratio <= 1000.0))
        return complaint("token_budget_config.token_ratio", config.token_ratio, "in [0.001, 1000]");
    return {};
}
#endif

/// A failure costs one token, a success gives `token_ratio` back, and a retry is permitted only while
/// there is more than half of `max_tokens`. Time plays no part. Tokens are counted in whole thousandths, as
/// gRPC does: fifty times 0.1 is exactly 5. Pure; not thread-safe.
class token_budget {
public:
    /// `config` is valid.
    explicit token_budget(const token_budget_config& config) noexcept
        : most_(std::int64_t{config.max_tokens} * one_token),
          per_success_(static_cast<std::int64_t>(config.token_ratio * one_token + 1e-6)), tokens_(most_) {}

    void succeeded(std::uint64_t attempts = 1) noexcept {
        std::int64_t gained = 0;
        if (detail::multiply_overflows(attempts, per_success_, gained)) gained = most_;
        tokens_ += std::min(gained, most_ - tokens_);
    }
    void failed() noexcept { tokens_ = std::max<std::int64_t>(tokens_ - one_token, 0); }
    bool permits_retry() const noexcept { return tokens_ > most_ / 2; }
    /// Tokens above half: as many retries are permitted, if all of them fail.
    double retries_left() const noexcept {
        return static_cast<double>(std::max<std::int64_t>(tokens_ - most_ / 2, 0)) / one_token;
    }
    double available() const noexcept { return static_cast<double>(tokens_) / one_token; }

private:
    static constexpr std::int64_t one_token = 1000;

    std::int64_t most_; // thousandths, as are the members below
    std::int64_t per_success_;
    std::int64_t tokens_; // in [0, most_]
};

}} // namespace resilience::RESILIENCE_ABI
