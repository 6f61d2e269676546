// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/task_traits.hpp>
#include <resilience/path/owned_call.hpp>
#include <resilience/path/policy_traits.hpp>

#include <tuple>
#include <type_traits>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <class R, class... P>
struct first_to_refuse {};
template <class R, class P, class... Inner>
struct first_to_refuse<R, P, Inner...> {
    using type = typename std::conditional_t<takes_result<P, R>, first_to_refuse<R, Inner...>,
                                             std::type_identity<P>>::type;
};

/// Tells if policies P can run a call, and if not, why. Asked where the call is written, so that the compiler's
/// message is a short one. The callable by itself is checked by check_types().
template <class... P>
struct call_check {
    static constexpr unsigned copies = (0U + ... + (may_outlive_call<P> ? 1U : 0U));
    static constexpr bool copies_once = may_outlive_call<std::tuple_element_t<0, std::tuple<P...>>>;
    /// True if the call may move what it takes along to another thread, false if it has to copy.
    static constexpr bool moves_once = copies_once && copies == 1;
    /// True if the policies can run such a call. Tasks are checked where they begin.
    template <class R, class F, class... A>
    static constexpr bool can_run =
        task<R> || ((copies == 0 || can_be_owned<moves_once, F, A...>) && (takes_result<P, R> && ...));
    /// Says by a static_assert why they cannot.
    template <class R, class F, class... A>
    static consteval void refuse() {
        static_assert(
            copies == 0 || can_be_held<moves_once, F>,
            "resilience: an abandoning timeout runs a copy of the callable, since the caller may be gone "
            "before it ends, and this callable cannot be copied. Keep what cannot be copied in a "
            "std::shared_ptr; or make the abandoning timeout the outermost policy and pass the callable as "
            "an rvalue: it is moved then.");
        static_assert(
            copies == 0 || (can_be_held<moves_once, A> && ...),
            "resilience: an abandoning timeout runs on copies of the arguments, since the caller may be gone "
            "before it ends, and one of them cannot be copied. Pass std::ref of something that outlives the "
            "work, or a std::shared_ptr; or make the abandoning timeout the outermost policy and pass an "
            "rvalue: it is moved then.");
        if constexpr (!(takes_result<P, R> && ...))
            first_to_refuse<R, P...>::type::template check_result<R>();
    }
};

}}} // namespace resilience::RESILIENCE_ABI::detail
