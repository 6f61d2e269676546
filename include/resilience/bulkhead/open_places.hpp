// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/sync.hpp>

#include <algorithm>
#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// A place of a bulkhead, as it was taken.
struct bulkhead_place {
    static constexpr time_point not_measured = time_point::min();

    time_point since = not_measured;
    std::uint32_t process = 0; // that took it; 0: none
    explicit operator bool() const noexcept { return process != 0; }
};

/// The places of a bulkhead that calls take and give back without its mutex: up to half of the limit, while nobody waits.
/// They are one word. The thread that has the mutex closes it, and from then on all calls come to the mutex.
///
/// A clock takes longer to read than the rest. So the time that calls have their places is measured of those that come
/// while half of the places are taken, and of every 64th else.
class open_places {
public:
    enum class taken : std::uint8_t { none, one, one_to_measure };
    /// None: the call has to ask under the mutex.
    RESILIENCE_INLINE taken take(std::uint32_t process) noexcept {
        if (process_.load(std::memory_order_relaxed) != process) [[unlikely]]
            return taken::none;
        const std::uint64_t most =
            most_running(); // before it is taken: then the line may be another thread's
        std::uint64_t seen = word_.load(std::memory_order_relaxed);
        do {
            if (places(seen) == 0 || passes(seen) == 0) [[unlikely]]
                return taken::none;
            // Acquire: the call sees what was done by the one that had the place before.
        } while (!word_.compare_exchange_weak(seen, seen - one_place - one_pass, std::memory_order_acquire,
                                              std::memory_order_relaxed));
        if (running(seen) >= most) [[unlikely]]
            note(running(seen) + 1);
        return passes(seen) % 64 == 0 ? taken::one_to_measure : taken::one;
    }
    /// False: it has to be given back under the mutex.
    RESILIENCE_INLINE bool give() noexcept {
        // Release: see take(). What it adds to a closed word is overwritten when that is opened.
        return (word_.fetch_add(one_place, std::memory_order_release) & is_closed) == 0;
    }
    /// The most that ran at once, of calls that came without the mutex.
    std::uint64_t most_running() const noexcept { return most_.load(std::memory_order_relaxed); }

    // Under the mutex:

    /// The calls since it was opened.
    struct since_opened {
        bool was_open = false;
        std::uint64_t running = 0; // all, those with and those without the mutex
        std::uint64_t passed = 0;
    };
    since_opened close() noexcept {
        // Acquire: as in take(), for calls that get their places under the mutex.
        const std::uint64_t was = word_.exchange(is_closed, std::memory_order_acquire);
        if ((was & is_closed) != 0) return {};
        const std::uint64_t passed = left_ - passes(was);
        left_ = passes(was) > 0 ? passes(was) : most_passes;
        return {true, running(was), passed};
    }
    /// After close(). Stays closed if more than half of the limit run.
    void open(std::uint64_t running, std::uint64_t limit, std::uint32_t process) noexcept {
        const std::uint64_t half = std::min(limit / 2, most_places);
        if (running > half) return;
        process_.store(process, std::memory_order_relaxed);
        // Release: as in give(), for places that were given back under the mutex.
        word_.store((half - running) * one_place + half * one_of_half + left_ * one_pass,
                    std::memory_order_release);
    }

private:
    // From the lowest bit: the places that can be taken (20 bits), half of the limit (20 bits), the calls that can pass
    // until it is closed once and so counts them (23 bits), is_closed.
    static constexpr std::uint64_t one_place = 1, one_of_half = std::uint64_t{1} << 20U;
    static constexpr std::uint64_t most_places = one_of_half - 1;
    static constexpr std::uint64_t one_pass = std::uint64_t{1} << 40U, most_passes = (1U << 23U) - 64;
    static constexpr std::uint64_t is_closed = std::uint64_t{1} << 63U;
    // A closed word has no pass, so that take() need not ask.
    static std::uint64_t places(std::uint64_t word) noexcept { return word % one_of_half; }
    static std::uint64_t passes(std::uint64_t word) noexcept { return word / one_pass % (1U << 23U); }
    static std::uint64_t running(std::uint64_t word) noexcept {
        return word / one_of_half % one_of_half - places(word);
    }
    void note(std::uint64_t running) noexcept {
        std::uint64_t most = most_running();
        while (running > most && !most_.compare_exchange_weak(most, running, std::memory_order_relaxed)) {}
    }

    // Invariant: an open word has places + running = half of the limit, whoever took them.
    alignas(64) atomic<std::uint64_t> word_{is_closed};
    atomic<std::uint64_t> most_{0}; // only grows; relaxed: it is shown, and orders nothing
    atomic<std::uint32_t> process_{
        0}; // in which it was opened; relaxed: a child has but the thread that forked
    std::uint64_t left_ = most_passes; // passes when it was opened or closed; guarded by the mutex
};

}}} // namespace resilience::RESILIENCE_ABI::detail
