// SPDX-License-Identifier: Apache-2.0
// Readers that mark stripes of their own, and a writer that waits until no mark stands.
//
// Breaks of the headers that were made by hand and were found:
//   the writer not waiting for marks
//   the announcement not looked for after the mark is made, or looked for by an acquiring load
//   marks looked for by an acquiring or relaxed load
//   the announcement taken back by a relaxed store
//   pages of stripes looked for by an acquiring load
#include "schedules/explore.hpp"

#include <resilience/detail/striped_readers.hpp>

#include <atomic>

namespace {

namespace sync = resilience::detail;
using schedules::explore;
using schedules::together;

/// Two numbers that are equal unless somebody is writing them; relaxed, so that nothing but the readers' lock orders them.
struct guarded_pair {
    sync::mutex mutex{};
    sync::striped_readers readers{};
    sync::atomic<int> one{0};
    sync::atomic<int> other{0};

    void write() {
        const sync::lock_guard lock(mutex);
        const sync::striped_readers::writing alone(readers);
        one.store(one.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        other.store(other.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    int read() {
        if (const sync::striped_readers::reading undisturbed(readers); undisturbed) return read_both();
        const sync::lock_guard lock(mutex);
        return read_both();
    }

private:
    int read_both() {
        const int first = one.load(std::memory_order_relaxed);
        EXPECT(other.load(std::memory_order_relaxed) == first);
        return first;
    }
};

TEST_CASE("readers never see what is being written", "[striped_readers][H-REG-01]") {
    const auto scenario = [] {
        guarded_pair pair;

        together([&] { pair.write(); }, [&] { EXPECT(pair.read() <= pair.read()); }, [&] { pair.read(); });

        EXPECT(pair.read() == 1);
    };

    explore("a writer and two readers", {.within = {2, 1}}, scenario);
    explore("a writer and two readers", {.random = 5000}, scenario);
}

TEST_CASE("writers that follow one another keep readers out each", "[striped_readers]") {
    const auto scenario = [] {
        guarded_pair pair;
        const auto write = [&] { pair.write(); };

        together(write, write, [&] { pair.read(); });

        EXPECT(pair.read() == 2);
    };

    explore("two writers and a reader", {.within = {2, 1}}, scenario);
}

} // namespace
