// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/circuit_breaker.hpp>
#include <resilience/path/fast_path.hpp>
#include <resilience/retry.hpp>
#include <resilience/timeout.hpp>

// The walks through pipelines that most programs have: resilience::compiled holds them, for results of all types.

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

template <class... P>
using walk_function = void(call_slot&, call_context&, const function_ref<void(call_context&)>*, const P&...);
template <class... P>
using resumption_function = void(call_slot&, function_ref<void(call_context&)>, call_context&,
                                 fast_permits<P...>, const P&...);

RESILIENCE_INSTANTIATE(walk_function<retry> walk_around)
RESILIENCE_INSTANTIATE(resumption_function<retry> resume_walk)
RESILIENCE_INSTANTIATE(walk_function<circuit_breaker> walk_around)
RESILIENCE_INSTANTIATE(resumption_function<circuit_breaker> resume_walk)
RESILIENCE_INSTANTIATE(walk_function<timeout> walk_around)
RESILIENCE_INSTANTIATE(resumption_function<timeout> resume_walk)
RESILIENCE_INSTANTIATE(walk_function<retry, circuit_breaker> walk_around)
RESILIENCE_INSTANTIATE(resumption_function<retry, circuit_breaker> resume_walk)
RESILIENCE_INSTANTIATE(walk_function<retry, timeout> walk_around)
RESILIENCE_INSTANTIATE(resumption_function<retry, timeout> resume_walk)
RESILIENCE_INSTANTIATE(walk_function<circuit_breaker, timeout> walk_around)
RESILIENCE_INSTANTIATE(resumption_function<circuit_breaker, timeout> resume_walk)
RESILIENCE_INSTANTIATE(walk_function<retry, circuit_breaker, timeout> walk_around)
RESILIENCE_INSTANTIATE(resumption_function<retry, circuit_breaker, timeout> resume_walk)

}}} // namespace resilience::RESILIENCE_ABI::detail
