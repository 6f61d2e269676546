// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/verdict.hpp>

#include <cstdint>
#include <variant>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The part of an outcome that does not depend on R.
class outcome_slot {
public:
    outcome_slot(const outcome_slot&) = delete;
    outcome_slot& operator=(const outcome_slot&) = delete;

    bool has_failure() const noexcept { return content_ >= content::failing_value; }

protected:
    enum class content : std::uint8_t { nothing, value, undescribed, failing_value, failure };

    outcome_slot() noexcept {} // NOLINT(modernize-use-equals-default): the union stays empty
    ~outcome_slot() {
        if (has_failure()) failure_.~failure();
    }

    union {
        failure failure_; // alive if has_failure()
    };
    content content_ = content::nothing;
    verdict judged_ = verdict::success; // of a value; asked of its type once
};

/// What an outcome that nobody filled says.
RESILIENCE_COLD inline const failure& no_outcome() noexcept {
    static const auto& none = *new failure; // leaked: usable in static destructors
    return none;
}

struct fill_t {};
inline constexpr fill_t fill{};

template <class R>
struct stored {
    using type = R;
};
template <class R>
struct stored<R&> {
    using type = R*;
};
template <>
struct stored<void> {
    using type = std::monostate;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
