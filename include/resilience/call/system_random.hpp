// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/random.hpp>
#include <resilience/config.hpp>
#include <resilience/detail/per_process.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/detail/sync.hpp>

#include <array>
#include <bit>
#include <cstdint>
#include <exception>
#include <random>

namespace resilience { inline namespace RESILIENCE_ABI {
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

/// Keeps one generator per thread. A generator is seeded at its first number, from the entropy of the process
/// and a count of threads. A forked child reads entropy of its own. Not for secrets.
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

    static RESILIENCE_COLD void seed(xoshiro256& generator) noexcept {
        // Relaxed: only the number must be unique.
        std::uint64_t number = threads_.fetch_add(1, std::memory_order_relaxed);
        std::uint64_t state = entropy_.get(&read_entropy) ^ split(number);
        for (auto& word : generator.words) word = split(state);
        generator.seeded_in = process_number();
    }

    /// The device is slow, so it is read once per process.
    static std::uint64_t read_entropy() noexcept {
        // If the device fails, the process id and the load address still tell processes apart.
        auto place = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(&entropy_));
        place ^= process_id() << 32U;
        std::uint64_t entropy = split(place);
#if RESILIENCE_EXCEPTIONS
        try {
#endif
            std::random_device device;
            entropy ^= static_cast<std::uint64_t>(device()) << 32U;
            entropy ^= device();
#if RESILIENCE_EXCEPTIONS
        } catch (const std::exception&) {
            return entropy;
        }
#endif
        return entropy;
    }

    static inline constinit thread_local xoshiro256 mine_{};
    static inline per_process<std::uint64_t> entropy_;
    static inline atomic<std::uint64_t> threads_{0}; // seeded so far
};

} // namespace detail

/// The randomness that jitter uses unless a registry is given another: no lock, no shared state between
/// threads, usable until the last moment of a thread and of the program.
RESILIENCE_VISIBLE inline random_source& system_random() noexcept {
    static auto* const source = new detail::system_random_source;
    return *source;
}

}} // namespace resilience::RESILIENCE_ABI
