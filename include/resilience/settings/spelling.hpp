// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string_view>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The letters that have to be inserted, removed or replaced to make one word of the other (Levenshtein).
/// attempts, attempt: 1. O(a * b).
inline std::size_t edits_between(std::string_view a, std::string_view b) {
    std::vector<std::size_t> edits(b.size() + 1); // from the part of `a` so far to each beginning of `b`
    std::iota(edits.begin(), edits.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t replaced = edits[0]; // of the row before, one to the left
        edits[0] = i + 1;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t above = edits[j + 1];
            edits[j + 1] = std::min({above + 1, edits[j] + 1, replaced + (a[i] == b[j] ? 0U : 1U)});
            replaced = above;
        }
    }
    return edits.back();
}

}}} // namespace resilience::RESILIENCE_ABI::detail
