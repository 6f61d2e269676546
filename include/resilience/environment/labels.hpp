// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Names and values that describe a policy: {{"team", "tickets"}}. Constant once the policy is made.
using labels_type = std::vector<std::pair<std::string, std::string>>;

/// A policy's labels in events and snapshots. A copy shares them with the policy and may outlive it.
class shared_labels {
public:
    using value_type = labels_type::value_type;

    shared_labels() noexcept = default;
    explicit shared_labels(labels_type labels);

    bool empty() const noexcept { return all_ == nullptr; }
    std::size_t size() const noexcept { return all_ == nullptr ? 0 : all_->size(); }
    const value_type* begin() const noexcept { return all_ == nullptr ? nullptr : all_->data(); }
    const value_type* end() const noexcept { return begin() + size(); }
    const value_type& operator[](std::size_t i) const noexcept { return (*all_)[i]; }
    friend bool operator==(const shared_labels& a, const labels_type& b) { return a.is_equal_to(b); }

private:
    bool is_equal_to(const labels_type& other) const;

    std::shared_ptr<const labels_type> all_; // null if there are none
};

namespace detail {

/// Label names that the library's metrics use or that Prometheus reserves.
inline constexpr std::string_view reserved_labels[] = {"name",    "kind", "policy_kind", "state",
                                                       "outcome", "le",   "quantile"};

constexpr bool is_label_name(std::string_view name) noexcept {
    for (const std::string_view reserved : reserved_labels) {
        if (name == reserved) return false;
    }
    for (const char c : name) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (c < '0' || c > '9')) return false;
    }
    return !name.empty() && (name.front() < '0' || name.front() > '9') && !name.starts_with("__");
}

/// Text for messages: {team=tickets, tier=1}.
std::string labels_text(const labels_type::value_type* begin, std::size_t count);
template <class Labels>
std::string labels_text(const Labels& all) {
    return labels_text(all.empty() ? nullptr : &all[0], all.size());
}

/// A complaint that names value and range; empty if the labels are valid. `config` is the config's type.
std::string labels_complaint(std::string_view config, const labels_type& labels);
/// Calls labels_complaint() inline only if there are labels: most configs have none.
inline std::string validate_labels(std::string_view config, const labels_type& labels) {
    return labels.empty() ? std::string() : labels_complaint(config, labels);
}

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION std::string labels_text(const labels_type::value_type* begin,
                                                            std::size_t count) {
    std::string text = "{";
    for (std::size_t i = 0; i < count; ++i) {
        const auto& [name, value] = begin[i];
        text.append(i == 0 ? "" : ", ").append(name).append("=").append(value, 0, 64);
    }
    return text += '}';
}

RESILIENCE_COLD RESILIENCE_FUNCTION std::string labels_complaint(std::string_view config,
                                                                 const labels_type& labels) {
    constexpr std::size_t most = 8;
    const std::string field = std::string(config) + ".labels has ";
    if (labels.size() > most) return field + std::to_string(labels.size()) + " pairs; it must be at most 8";
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const std::string& name = labels[i].first;
        if (!is_label_name(name)) {
            std::string text =
                field + "the name '" + name.substr(0, 64) +
                "'; it must be letters, digits and underscores, begin with no digit and not with __, "
                "and be none of ours:";
            for (const std::string_view reserved : reserved_labels) text.append(" ").append(reserved);
            return text;
        }
        for (std::size_t earlier = 0; earlier < i; ++earlier) {
            if (labels[earlier].first == name)
                return (field + "the name '").append(name).append("' twice; it must be there once");
        }
    }
    return {};
}
#endif

} // namespace detail

#if RESILIENCE_BODIES
RESILIENCE_COLD RESILIENCE_FUNCTION shared_labels::shared_labels(labels_type labels)
    : all_(labels.empty() ? nullptr : std::make_shared<const labels_type>(std::move(labels))) {}
RESILIENCE_COLD RESILIENCE_FUNCTION bool shared_labels::is_equal_to(const labels_type& other) const {
    return all_ == nullptr ? other.empty() : *all_ == other;
}
#endif

}} // namespace resilience::RESILIENCE_ABI
