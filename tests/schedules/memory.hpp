// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a thread may read, by the C++ memory model: each location has its values in the order in which they
// were written, and a thread has a *view*, for each location the oldest value that it may still read. A
// load raises the view to what it read; an acquiring one also to the view that the writer published.
// Happens-before and coherence are exactly that: nothing but what the standard allows is ever shown.
//
// What the standard allows beyond it is not shown: loads that see later stores (the program runs in
// order), stores that are put in front of older ones, stale reads of read-modify-writes that fail, and of
// seq_cst loads (all of them see the latest value).

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

namespace schedules {

/// Where an instrumented object keeps what is known of it. Belongs to one execution; one of an earlier
/// execution is as good as none.
struct place {
    std::uint32_t execution = 0;
    std::uint32_t location = 0;
};

class view {
public:
    std::uint32_t at(std::uint32_t location) const noexcept {
        return location < oldest_.size() ? oldest_[location] : 0;
    }
    void raise(std::uint32_t location, std::uint32_t message) {
        if (location >= oldest_.size()) oldest_.resize(location + 1);
        oldest_[location] = std::max(oldest_[location], message);
    }
    void join(const view& other) {
        if (other.oldest_.size() > oldest_.size()) oldest_.resize(other.oldest_.size());
        for (std::size_t i = 0; i < other.oldest_.size(); ++i)
            oldest_[i] = std::max(oldest_[i], other.oldest_[i]);
    }

private:
    std::vector<std::uint32_t> oldest_;
};

constexpr bool acquires(std::memory_order order) noexcept {
    return order == std::memory_order_acquire || order == std::memory_order_consume ||
           order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}
constexpr bool releases(std::memory_order order) noexcept {
    return order == std::memory_order_release || order == std::memory_order_acq_rel ||
           order == std::memory_order_seq_cst;
}

/// All that was written in one execution. Values are passed as their bits; `now` is the current value,
/// which is the first message of a location that was not met before.
class memory {
public:
    explicit memory(std::uint32_t execution) : execution_(execution) {}

    /// How many values a load may give, the latest and older ones.
    std::size_t readable(const view& seen, place& where, std::uint64_t now) {
        const auto& all = messages(where, now);
        return all.size() - seen.at(where.location);
    }
    /// The latest value for age 0, else an older one. Precondition: age < readable().
    std::uint64_t read(view& seen, place& where, std::uint64_t now, std::size_t age,
                       std::memory_order order) {
        const auto& all = messages(where, now);
        const std::size_t which = all.size() - 1 - age;
        seen.raise(where.location, static_cast<std::uint32_t>(which));
        if (acquires(order)) seen.join(all[which].published);
        return all[which].bits;
    }
    void write(view& seen, place& where, std::uint64_t now, std::uint64_t next, std::memory_order order) {
        append(messages(where, now), seen, where, {next, {}}, order);
    }
    /// The write of a read-modify-write, whose read has taken place: it goes on with the release sequence.
    void modify(view& seen, place& where, std::uint64_t now, std::uint64_t next, std::memory_order order) {
        auto& all = messages(where, now);
        append(all, seen, where, {next, all.back().published}, order);
    }

    /// A mutex's part: who locks it sees what those before saw who unlocked it.
    void lock(view& seen, place& where) { seen.join(messages(where, 0).front().published); }
    void unlock(const view& seen, place& where) { messages(where, 0).front().published.join(seen); }

    /// Of data that is no atomic: false if the latest write does not happen before what `seen` is about.
    bool is_ordered(const view& seen, place& where) {
        const auto& all = messages(where, 0);
        return seen.at(where.location) + 1 == all.size();
    }

private:
    struct message {
        std::uint64_t bits = 0;
        view published; // what a load of it acquires
    };
    using history = std::vector<message>;

    history& messages(place& where, std::uint64_t now) {
        if (where.execution != execution_) {
            where = {execution_, static_cast<std::uint32_t>(locations_.size())};
            locations_.emplace_back().push_back({now, {}});
        }
        return locations_[where.location];
    }
    static void append(history& all, view& seen, const place& where, message m, std::memory_order order) {
        seen.raise(where.location, static_cast<std::uint32_t>(all.size()));
        if (releases(order)) m.published.join(seen);
        all.push_back(std::move(m));
    }

    std::uint32_t execution_;
    std::deque<history> locations_;
};

} // namespace schedules
