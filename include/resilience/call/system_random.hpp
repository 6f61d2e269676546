// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/random.hpp>
#include <resilience/config.hpp>

#if RESILIENCE_BODIES
#include <resilience/detail/immortal.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/detail/sync.hpp>

#include <array>
#include <bit>
#include <cstdint>
#endif

namespace resilience { inline namespace RESILIENCE_ABI {

/// The randomness that jitter uses unless a registry is given another: no lock, no shared state between
/// threads, usable until the last moment of a thread and of the program.
RESILIENCE_VISIBLE random_source& system_random() noexcept;

#if RESILIENCE_BODIES
namespace detail {

/// xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021).
/// Trivially destructible and constant-initialised, so that as a thread_local it costs no guard, and
/// destructors of other thread_local objects may use it.
struct xoshiro256 {
    std::array<std::uint64_t, 4> words{};
    std::uint32_t seeded_in = 0; // the number of the process; 0: not seeded

    std::uint64_t next() noexcept {
        auto& s = words;
        const std::uint64_t result = std::rotl(s[0] + s[3], 23) + s[0];
        const std::uint64_t t = s[1] << 17U;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = std::rotl(s[3], 45);
        return result;
    }
};

/// Keeps one generator per thread. A generator is seeded at its first number, and anew in a forked child, from the
/// entropy of the system and a count of threads. Not for secrets.
class RESILIENCE_VISIBLE system_random_source final : public random_source {
public:
    double uniform() noexcept override {
        if (mine_.seeded_in != process_number()) [[unlikely]]
            seed(mine_);
        // The upper 53 bits: every result is a multiple of 2^-53, the largest 1 - 2^-53.
        return static_cast<double>(mine_.next() >> 11U) * 0x1p-53;
    }

private:
    /// A step of splitmix64, the seeding that xoshiro's authors recommend.
    static std::uint64_t split(std::uint64_t& state) noexcept {
        std::uint64_t z = (state += 0x9e3779b97f4a7c15U);
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31U);
    }

    /// Asks the system each time, about a microsecond: a thread seeds once, and nothing is kept that a forked child
    /// would share or that needs memory. If the system has none, the process id and the load address tell processes
    /// apart, and the number tells threads.
    static RESILIENCE_COLD void seed(xoshiro256& generator) noexcept {
        // Relaxed: only the number must be unique.
        std::uint64_t number = threads_.fetch_add(1, std::memory_order_relaxed);
        auto place = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&threads_));
        place ^= process_id() << 32U;
        std::uint64_t state = system_entropy() ^ split(place) ^ split(number);
        for (auto& word : generator.words) word = split(state);
        generator.seeded_in = process_number();
    }

    static inline constinit thread_local xoshiro256 mine_{};
    static inline atomic<std::uint64_t> threads_{0}; // seeded so far
};

} // namespace detail

RESILIENCE_VISIBLE RESILIENCE_FUNCTION random_source& system_random() noexcept {
    static constinit detail::immortal<detail::system_random_source> source;
    return source.get();
}
#endif

}} // namespace resilience::RESILIENCE_ABI
