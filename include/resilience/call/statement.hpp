// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <cstdint>
#include <system_error>

namespace resilience { inline namespace RESILIENCE_ABI {

class failure;

namespace detail {

/// The statement by which a failure is judged. Of nested exceptions the outermost that states something decides, and what
/// is nested in it is not asked. Of one exception the first kind in this order counts.
struct statement {
    enum class kind : std::uint8_t {
        none,
        limit,   ///< an error of ours that says that an inner call came to its limit
        verdict, ///< a verdict_carrier
        code,    ///< a cancellation, or one of our codes but retries_exhausted
        type,    ///< result_traits with a `judge` of their own
        status,  ///< an answer of HTTP. A status of 0 says only that none came
        memory,  ///< std::bad_alloc
    };
    kind what = kind::none;
    const failure* by = nullptr; // null for none
    std::error_code code{};      // the outermost that was asked for one, but retries_exhausted
    bool no_answer = false;      // an exception outside of `by` says that no answer came: no status counts
};

} // namespace detail
}} // namespace resilience::RESILIENCE_ABI
