// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/environment/registered_policy.hpp>
#include <resilience/registry.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace support {

/// A policy with a name and nothing else.
class plain_policy : public resilience::registered_policy {
public:
    static constexpr std::string_view policy_kind = "test";

    plain_policy(std::string_view name, const resilience::registry& where,
                 std::string_view kind = policy_kind, resilience::labels_type labels = {})
        : registered_policy(name, std::move(labels), where.env()), kind_(kind) {}
    std::string_view kind() const noexcept override { return kind_; }
    resilience::policy_snapshot snapshot() const override { return {std::string(kind_), name(), {}}; }

private:
    std::string_view kind_;
};

} // namespace support
