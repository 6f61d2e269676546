// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <memory>
#include <type_traits>

namespace resilience::inline RESILIENCE_ABI::detail {

template <class Signature>
class function_ref;

/// Borrows a callable for the length of a call; two pointers, no allocation.
template <class R, class... Args>
class function_ref<R(Args...)> {
public:
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, function_ref> &&
                 std::is_invocable_r_v<R, F&, Args...>)
    function_ref(F& f) noexcept // NOLINT(google-explicit-constructor): it stands for the callable
        : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
          call_([](void* object, Args... args) -> R {
              return (*static_cast<F*>(object))(static_cast<Args>(args)...);
          }) {}

    R operator()(Args... args) const { return call_(object_, static_cast<Args>(args)...); }

private:
    void* object_;
    R (*call_)(void*, Args...);
};

} // namespace resilience::inline RESILIENCE_ABI::detail
