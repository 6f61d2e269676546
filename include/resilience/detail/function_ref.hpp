// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <memory>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A reference to a callable, two pointers large, for functions that must not be compiled once for each
/// callable. The callable must outlive it.
template <class Signature>
class function_ref;
template <class R, class... A>
class function_ref<R(A...)> {
public:
    template <class F>
    function_ref(const F& f) noexcept // NOLINT(google-explicit-constructor): stands for the callable
        : callable_(std::addressof(f)),
          call_([](const void* callable, A... a) -> R { return (*static_cast<const F*>(callable))(a...); }) {}

    R operator()(A... a) const { return call_(callable_, a...); }

private:
    const void* callable_;
    R (*call_)(const void*, A...);
};

}}} // namespace resilience::RESILIENCE_ABI::detail
