// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/quote.hpp>
#include <resilience/settings/fields.hpp>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace resilience { inline namespace RESILIENCE_ABI {

/// Reads the changes to a config from a JSON object such as {"max_attempts": 5, "base_delay": "250ms",
/// "max_elapsed": null}, by JSON for Modern C++ (nlohmann-json, 3.11 or later): for monitoring_options::read_changes.
/// Throws std::invalid_argument for a text that is no JSON (RFC 8259) or no object, or that has a member
/// twice, or a member that is an object or an array. Thread-safe.
inline std::vector<change> read_json_changes(std::string_view text) {
    using nlohmann::json;
    constexpr std::size_t most = 64; // members: more than any config has fields
    std::vector<change> changes;
    std::string twice;
    const auto note = [&](int depth, json::parse_event_t event, json& parsed) {
        if (event == json::parse_event_t::key && depth == 1) {
            const auto& name = parsed.get_ref<const std::string&>();
            for (const change& c : changes) {
                if (c.name == name) twice = name;
            }
            if (changes.size() <= most) changes.push_back({name, {}});
        }
        return depth <= 2; // deeper members are refused below and need not be kept
    };
    const json whole = json::parse(text.begin(), text.end(), note, /* allow_exceptions */ false);
    if (whole.is_discarded()) throw std::invalid_argument("the body is no JSON");
    if (!whole.is_object()) throw std::invalid_argument("the body is no JSON object");
    if (changes.size() > most) throw std::invalid_argument("the body has more than 64 members");
    if (!twice.empty())
        throw std::invalid_argument("'" + std::string(detail::clipped(twice, 64)) +
                                    "' stands in the body twice");
    for (change& c : changes) {
        const json& value = whole.at(c.name);
        if (value.is_structured())
            throw std::invalid_argument(std::string(detail::clipped(c.name, 64)) +
                                        " is an object or an array; it must be a plain value");
        if (value.is_string()) c.text = value.get<std::string>();
        else if (!value.is_null()) c.text = value.dump();
    }
    return changes;
}

}} // namespace resilience::RESILIENCE_ABI
