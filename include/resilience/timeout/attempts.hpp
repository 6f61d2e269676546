// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/time.hpp>
#include <resilience/detail/function_ref.hpp>
#include <resilience/detail/platform.hpp>
#include <resilience/detail/raise_to.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/detail/striped_counters.hpp>
#include <resilience/detail/sync.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The attempts under a timeout: how they ended, those in flight, and those that ran on past their limit. An
/// attempt that stays on its thread leaves its deadline in the thread's stripe, where a reader of the
/// statistics sees it.
class timed_attempts {
public:
    enum counter : std::size_t { in_time, timed_out, kept_late, failed, abandoned, begun };

    /// The mutex must outlive this. It guards marks that were looked at.
    explicit timed_attempts(mutex& owners) noexcept : mutex_(owners) {}

    /// The oldest attempt of a thread leaves its deadline as a mark.
    RESILIENCE_INLINE left_mark begin_here(time_point deadline) noexcept {
        return counts_.begin(begun, oldest_, mark_of(deadline));
    }
    /// For an attempt that may end on another thread.
    void begin_anywhere() noexcept { counts_.add(begun); }
    /// `began` is what begin_here() returned; `no` after begin_anywhere().
    RESILIENCE_INLINE void end(counter how, left_mark began) noexcept { counts_.end(how, oldest_, began); }

    std::uint64_t sum(counter c) const noexcept { return counts_.sum(c); }
    std::uint64_t in_flight() const noexcept;
    /// Attempts that were seen past twice their limit.
    std::uint64_t overrun() const noexcept { return overrun_.load(std::memory_order_relaxed); }
    /// The longest time by which an attempt was seen past its limit.
    duration longest() const noexcept { return duration{longest_.load(std::memory_order_relaxed)}; }

    /// Looks at the attempts that run now. Calls tell(past) for each that is past twice its limit, unless it was
    /// told before.
    void look(time_point now, duration limit, function_ref<void(duration past)> tell);
    /// Records that an attempt ends, `past` its limit. True if it is past twice its limit and was not told
    /// before. `mark` is the deadline that it left, if it did.
    bool ends_past(duration past, duration limit, std::optional<time_point> mark) noexcept;

private:
    static constexpr std::size_t oldest_ = begun + 1; // the cell of the deadline of a thread's oldest attempt
    static std::uint64_t mark_of(time_point deadline) noexcept {
        return static_cast<std::uint64_t>(deadline.time_since_epoch().count());
    }
    /// The last mark of each thread that was looked at in some way. Guarded by mutex_.
    class marks_of_threads {
    public:
        bool has(std::uint32_t number, std::uint64_t mark) const noexcept {
            return marks_ && number < marks_->size() && (*marks_)[number] == mark;
        }
        /// Forgets it, if memory runs out.
        void put(std::uint32_t number, std::uint64_t mark) noexcept {
            returned([&] {
                if (!marks_) marks_ = std::make_unique<std::vector<std::uint64_t>>();
                if (number >= marks_->size()) marks_->resize(number + std::size_t{1});
                (*marks_)[number] = mark;
            });
        }

    private:
        std::unique_ptr<std::vector<std::uint64_t>> marks_; // null until there is one, which is rare
    };

    /// Counts the attempt of a thread that left this mark. False if it was counted before.
    bool count(std::uint32_t number, std::uint64_t mark) noexcept;

    /// In a forked child: the attempts whose marks stand there are the parent's, and never end.
    void leave_parents_behind() noexcept;
    bool is_parents(std::uint32_t number, std::uint64_t mark) noexcept;

    RESILIENCE_NO_UNIQUE_ADDRESS striped_counters<oldest_ + 1> counts_;
    // These only grow. Relaxed: they order nothing.
    atomic<std::uint64_t> overrun_{0};
    atomic<duration::rep> longest_{0};
    mutex& mutex_;
    std::uint32_t process_ = process_number(); // guarded by mutex_, like the next
    marks_of_threads counted_;
    marks_of_threads parents_;
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION std::uint64_t timed_attempts::in_flight() const noexcept {
    std::uint64_t ended = 0;
    for (std::size_t c = 0; c < begun; ++c) ended += counts_.sum(c);
    const std::uint64_t all = counts_.sum(begun); // last: an attempt that is seen to end has begun
    return all > ended ? all - ended : 0;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void timed_attempts::look(time_point now, duration limit,
                                                              function_ref<void(duration past)> tell) {
    leave_parents_behind();
    counts_.each_mark(oldest_, [&](std::uint32_t number, std::uint64_t mark) {
        const time_point deadline{duration{static_cast<duration::rep>(mark)}};
        const duration past = elapsed_between(deadline, now);
        if (past == duration{0} || is_parents(number, mark)) return;
        raise_to(longest_, past.count());
        if (past > limit && count(number, mark)) tell(past);
    });
}
RESILIENCE_FUNCTION void timed_attempts::leave_parents_behind() noexcept {
    const lock_guard lock(mutex_);
    if (std::exchange(process_, process_number()) == process_number()) return;
    counts_.each_mark(oldest_, [&](std::uint32_t number, std::uint64_t mark) { parents_.put(number, mark); });
}
RESILIENCE_FUNCTION bool timed_attempts::is_parents(std::uint32_t number, std::uint64_t mark) noexcept {
    const lock_guard lock(mutex_);
    return parents_.has(number, mark);
}
RESILIENCE_COLD RESILIENCE_FUNCTION bool timed_attempts::ends_past(duration past, duration limit,
                                                                   std::optional<time_point> mark) noexcept {
    raise_to(longest_, past.count());
    if (past <= limit) return false;
    if (mark) return count(this_threads_stripe.index, mark_of(*mark));
    overrun_.fetch_add(1, std::memory_order_relaxed);
    return true;
}
RESILIENCE_FUNCTION bool timed_attempts::count(std::uint32_t number, std::uint64_t mark) noexcept {
    {
        const lock_guard lock(mutex_);
        if (counted_.has(number, mark)) return false;
        counted_.put(number, mark);
    }
    overrun_.fetch_add(1, std::memory_order_relaxed);
    return true;
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
