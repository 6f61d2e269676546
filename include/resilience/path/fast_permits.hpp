// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>
#include <resilience/path/policy_traits.hpp>

#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <class... P>
constexpr bool have_fast_path =
    (has_fast_path<P> && ...) && (0U + ... + (reserves_by_permit<P> ? 1U : 0U)) <= 1;

template <std::size_t I, class Permit>
struct permit_at {
    Permit permit;
};
template <class P>
RESILIENCE_INLINE typename P::fast_permit begin_fast(const P& policy,
                                                     [[maybe_unused]] call_context* ctx) noexcept {
    if constexpr (sets_deadline<P>) return policy.try_begin(*ctx);
    else return policy.try_begin();
}

/// The fast permits of a call, one from each policy.
template <class Indices, class... P>
class permits_at;
template <std::size_t... I, class... P>
class permits_at<std::index_sequence<I...>, P...> : permit_at<I, typename P::fast_permit>... {
public:
    RESILIENCE_INLINE permits_at(call_context* ctx, const P&... policies) noexcept
        : permit_at<I, typename P::fast_permit>{begin_unless_reserving(policies, ctx)}... {
        if constexpr ((reserves_by_permit<P> || ...)) {
            if (((reserves_by_permit<P> || static_cast<bool>(get<I>())) && ...)) (reserve<I>(policies), ...);
        }
    }

    template <std::size_t At>
    RESILIENCE_INLINE const auto& get() const noexcept {
        return static_cast<
                   const permit_at<At, typename std::tuple_element_t<At, std::tuple<P...>>::fast_permit>&>(
                   *this)
            .permit;
    }
    RESILIENCE_INLINE bool all_given() const noexcept { return (static_cast<bool>(get<I>()) && ...); }
    RESILIENCE_INLINE void start(const P&... policies) const noexcept {
        const auto begin = [](const auto& policy, const auto& given) RESILIENCE_INLINE_LAMBDA {
            if constexpr (sets_deadline<std::remove_cvref_t<decltype(policy)>>) policy.start(given);
        };
        (begin(policies, get<I>()), ...);
    }
    RESILIENCE_INLINE bool in_time(const P&... policies) const noexcept {
        return (is_in_time(policies, get<I>()) && ...);
    }
    /// The policy that reserves comes last: what it gives back may let a call in that destroys the handle.
    RESILIENCE_INLINE void succeed(const P&... policies) const noexcept {
        (succeed_if<false>(policies, get<I>()), ...);
        (succeed_if<true>(policies, get<I>()), ...);
    }
    void abandon(const P&... policies) const noexcept {
        (abandon_if<false>(policies, get<I>()), ...);
        (abandon_if<true>(policies, get<I>()), ...);
    }

private:
    template <bool Reserves, class Policy>
    RESILIENCE_INLINE static void succeed_if(const Policy& policy,
                                             const typename Policy::fast_permit& permit) noexcept {
        if constexpr (reserves_by_permit<Policy> == Reserves) policy.succeed(permit);
    }
    template <bool Reserves, class Policy>
    static void abandon_if(const Policy& policy, const typename Policy::fast_permit& permit) noexcept {
        if constexpr (reserves_by_permit<Policy> == Reserves) policy.abandon(permit);
    }
    template <class Policy>
    RESILIENCE_INLINE static typename Policy::fast_permit begin_unless_reserving(const Policy& policy,
                                                                                 call_context* ctx) noexcept {
        if constexpr (reserves_by_permit<Policy>) return {};
        else return begin_fast(policy, ctx);
    }
    template <std::size_t At, class Policy>
    RESILIENCE_INLINE void reserve(const Policy& policy) noexcept {
        if constexpr (reserves_by_permit<Policy>)
            permit_at<At, typename Policy::fast_permit>::permit = policy.try_begin();
    }
    template <class Policy>
    RESILIENCE_INLINE static bool is_in_time(const Policy& policy,
                                             const typename Policy::fast_permit& permit) noexcept {
        if constexpr (sets_deadline<Policy>) return policy.in_time(permit);
        else return true;
    }
};
template <class... P>
using fast_permits = permits_at<std::index_sequence_for<P...>, P...>;

}}} // namespace resilience::RESILIENCE_ABI::detail
