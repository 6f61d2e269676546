// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI {

class call_context;

namespace detail {

/// Blocking calls record themselves here for the calls that run inside of them on the same thread.
struct thread_calls {
    // The context of the innermost call that has one; its lowest bit is set if `repeats` is not 0. If this is 0, a call
    // need not look at the others.
    std::uintptr_t around = 0;
    unsigned retry_depth = 0;              // retries that are running an attempt
    unsigned repeats = 0;                  // in the attempt of a retry that has no context; see repeated()
    const call_context* waiting = nullptr; // of the call whose policy makes this thread sleep now

    static constexpr std::uintptr_t repeats_bit = 1;
    const call_context* current() const noexcept {
        // NOLINTNEXTLINE(performance-no-int-to-ptr): it was made of a pointer
        return reinterpret_cast<const call_context*>(around & ~repeats_bit);
    }
    unsigned repeated() const noexcept { return (around & repeats_bit) != 0 ? repeats : 0; }
    void set_repeats(unsigned n) noexcept {
        repeats = n;
        around = (around & ~repeats_bit) | (n != 0 ? repeats_bit : 0);
    }
};
RESILIENCE_VISIBLE inline constinit thread_local thread_calls this_threads_calls{};

} // namespace detail
}} // namespace resilience::RESILIENCE_ABI
