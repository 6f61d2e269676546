// SPDX-License-Identifier: Apache-2.0
#pragma once

// Runs threads one at a time. They are real ones (the library has thread_locals), but each waits for its
// turn, and gives it away only at scheduling points: before an operation of an instrumented type, after
// an unlock, and where it blocks. Who is next is asked of a strategy, so that an execution is a function of
// the strategy's answers. What the types of sync.hpp do is in terms of the functions here.

#include "schedules/controlled.hpp"
#include "schedules/memory.hpp"
#include "schedules/strategy.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace schedules {

class scheduler {
public:
    struct limits {
        std::size_t steps = 100'000;
        bool every_load = false; ///< else loads that follow one another on one line are one step
    };

    scheduler(std::uint32_t execution, strategy& how, const limits& l)
        : execution_(execution), strategy_(how), limits_(l), memory_(execution) {}
    scheduler(const scheduler&) = delete;
    scheduler& operator=(const scheduler&) = delete;

    /// One execution: `root` as thread 0 and all that it starts. False if it failed: then threads are stuck
    /// in the middle of it, and this object and all that they use must stay.
    bool run(std::function<void()> root) {
        start(std::move(root));
        threads_.front()->turn.release();
        if (!done_.acquire_within(std::chrono::seconds{60})) {
            std::cerr << "a thread blocks, or runs on, where the scheduler does not see it\n" << story();
            std::abort();
        }
        for (std::size_t i = 0; i < threads_.size(); ++i) {
            controlled& t = *threads_[i];
            if (!failure_.empty()) {
                t.system_thread.detach();
                continue;
            }
            is_over_ = true;
            if (t.is != controlled::state::finished) t.turn.release();
            t.system_thread.join();
        }
        return failure_.empty();
    }

    const std::string& failure() const noexcept { return failure_; }
    /// The choices that were not the ordinary one: what replayed takes.
    std::string schedule() const {
        std::ostringstream out;
        for (const auto& [step, taken] : taken_) out << (out.tellp() > 0 ? " " : "") << step << ':' << taken;
        return out.str();
    }
    std::size_t choices() const noexcept { return asked_; }
    std::string story() const { return text_of(story_); }

    // On a thread of the execution.

    /// Before an operation: others may come first.
    void point(const char* what, const site& at, bool is_load = false) {
        controlled& me = *this_thread;
        const bool goes_on = is_load && !limits_.every_load && !story_.empty() && story_.back().is_load &&
                             story_.back().thread == me.id && story_.back().at.line() == at.line();
        note(what, at, is_load);
        if (goes_on || me.undivided != 0) return;
        if (controlled* const next = pick(me); next != &me) pass_to(*next);
    }
    memory& values() noexcept { return memory_; }
    /// How old the value is that a load gives, of `readable` ones.
    std::size_t age_of_read(std::size_t readable) {
        if (readable < 2) return 0;
        options_.assign(std::min<std::size_t>(readable, 3), {this_thread->id, false, true});
        options_.front().is_odd = false;
        const std::size_t age = choose();
        if (age != 0) note(age == 1 ? "  (reads the last but one)" : "  (reads the last but two)", {}, false);
        return age;
    }
    /// Whether something odd happens: a compare_exchange_weak that fails for no reason.
    bool odd() {
        options_.assign(2, {this_thread->id, false, true});
        options_.front().is_odd = false;
        return choose() == 1;
    }

    void lock(mutex_state& m, const site& at) {
        point("lock", at);
        relock(m);
    }
    void unlock(mutex_state& m, const site& at) {
        release(m);
        point("unlocked", at);
    }
    wake wait(const void* condition, mutex_state& m, bool timed, const site& at) {
        point(timed ? "wait until" : "wait", at);
        controlled& me = *this_thread;
        release(m);
        me.condition = condition;
        me.mutex = &m;
        me.timed = timed;
        me.since = ++waits_;
        me.woken = wake::notified;
        block(me, controlled::state::waiting);
        relock(m);
        if (me.woken == wake::timeout) note("  (timed out)", at, false);
        if (me.woken == wake::spurious) note("  (woken for no reason)", at, false);
        return me.woken;
    }
    void notify(const void* condition, bool all, const site& at) {
        point(all ? "notify all" : "notify one", at);
        std::vector<controlled*> waiting;
        for (const auto& t : threads_) {
            if (t->is == controlled::state::waiting && t->condition == condition) waiting.push_back(t.get());
        }
        std::sort(waiting.begin(), waiting.end(), [](auto* a, auto* b) { return a->since < b->since; });
        if (!all && waiting.size() > 1) { // anybody may be woken
            options_.assign(waiting.size(), {this_thread->id, false, true});
            options_.front().is_odd = false;
            waiting = {waiting[choose()]};
        }
        for (controlled* t : waiting) t->is = controlled::state::locking;
    }

    controlled& start(std::function<void()> f) {
        auto fresh = std::make_unique<controlled>();
        controlled& t = *fresh;
        t.owner = this;
        t.id = static_cast<unsigned>(threads_.size());
        if (this_thread != nullptr) t.seen = this_thread->seen;
        threads_.push_back(std::move(fresh));
        t.system_thread = std::thread([&t, f = std::move(f)]() mutable { life(t, std::move(f)); });
        return t;
    }
    /// Waits until all of them have ended.
    void join(std::vector<const controlled*> others) {
        controlled& me = *this_thread;
        me.others = std::move(others);
        block(me, controlled::state::joining);
        for (const auto* t : me.others) me.seen.join(t->seen);
    }

    /// Waits until another thread has made a step: before, this one would see what it has seen.
    void let_others_run() {
        this_thread->since = story_.size();
        block(*this_thread, controlled::state::looking);
    }

    /// Waits until nobody else can run; then sees all that was done.
    void rest() {
        block(*this_thread, controlled::state::resting);
        for (const auto& t : threads_) this_thread->seen.join(t->seen);
    }

    /// The execution has failed and stops here, with all threads where they are.
    [[noreturn]] void fail(std::string why) {
        failure_ = std::move(why);
        done_.release();
        for (;;) this_thread->turn.acquire();
    }

private:
    void note(const char* what, const site& at, bool is_load) {
        story_.push_back({this_thread->id, what, at, is_load});
        if (story_.size() > limits_.steps) fail("no end after " + std::to_string(limits_.steps) + " steps");
    }
    std::size_t choose() {
        if (options_.size() < 2) return 0;
        const std::size_t taken = strategy_.choose(options_);
        if (taken != 0) taken_.emplace_back(asked_, taken);
        ++asked_;
        return taken;
    }

    bool is_locked(const mutex_state& m) const noexcept { return m.locked_in == execution_; }
    bool is_ready(const controlled& t) const noexcept {
        switch (t.is) {
        case controlled::state::ready: return true;
        case controlled::state::locking: return !is_locked(*t.mutex);
        case controlled::state::looking: return story_.size() > t.since;
        case controlled::state::joining:
            return std::all_of(t.others.begin(), t.others.end(),
                               [](const auto* o) { return o->is == controlled::state::finished; });
        default: return false;
        }
    }
    void relock(mutex_state& m) {
        controlled& me = *this_thread;
        me.mutex = &m;
        while (is_locked(m)) block(me, controlled::state::locking);
        m.locked_in = execution_;
        m.by = me.id;
        memory_.lock(me.seen, m.where);
    }
    void release(mutex_state& m) {
        if (!is_locked(m) || m.by != this_thread->id) fail("a mutex is unlocked by another than locked it");
        memory_.unlock(this_thread->seen, m.where);
        m.locked_in = 0;
    }
    void block(controlled& me, controlled::state is) {
        me.is = is;
        controlled* const next = pick(me);
        if (next == nullptr) end_here();
        else if (next != &me) pass_to(*next);
        me.is = controlled::state::ready;
    }
    void pass_to(controlled& next) {
        controlled& me = *this_thread;
        next.turn.release();
        wait_for_turn(me);
    }
    void wait_for_turn(controlled& me) {
        me.turn.acquire();
        if (!is_over_) return;
        this_thread = nullptr;
        throw execution_is_over{};
    }
    /// Nobody can run, and only daemons are left: this one waits for ever.
    void end_here() {
        done_.release();
        wait_for_turn(*this_thread);
    }

    /// Who runs now; null if the execution is over.
    controlled* pick(controlled& me) {
        options_.clear();
        const bool could_go_on = is_ready(me);
        for (const auto& t : threads_) { // what must not be divided has the right of way
            if (t->undivided != 0 && is_ready(*t)) return t.get();
        }
        if (could_go_on) options_.push_back({me.id, false, false});
        for (const auto& t : threads_) {
            if (t.get() != &me && is_ready(*t)) options_.push_back({t->id, could_go_on, false});
        }
        const bool any = !options_.empty();
        for (const auto& t : threads_) {
            if (!any && t->is == controlled::state::resting) return t.get();
        }
        for (const auto& t : threads_) {
            if (t->is != controlled::state::waiting || is_locked(*t->mutex)) continue;
            // Where nobody else can run, time passes; no other wait ends by itself.
            if (any || (t->timed && !only_daemons_are_left())) options_.push_back({t->id, could_go_on, any});
        }
        if (options_.empty()) {
            if (only_daemons_are_left()) return nullptr;
            fail("deadlock:" + standing());
        }
        controlled& next = *threads_[options_[choose()].thread];
        if (next.is == controlled::state::waiting) {
            next.woken = next.timed ? wake::timeout : wake::spurious;
            next.is = controlled::state::locking;
        }
        return &next;
    }
    std::string standing() const {
        std::string all;
        for (const auto& t : threads_) {
            if (t->is == controlled::state::finished) continue;
            all += (all.empty() ? " T" : ", T") + std::to_string(t->id);
            if (t->is == controlled::state::locking)
                all += " waits for a lock of T" + std::to_string(t->mutex->by);
            else if (t->is == controlled::state::joining) all += " for others to end";
            else if (t->is == controlled::state::looking) all += " for a change";
            else all += " to be notified";
        }
        return all;
    }
    bool only_daemons_are_left() const noexcept {
        for (const auto& t : threads_) {
            if (!t->is_daemon && t->is != controlled::state::finished) return false;
        }
        return true;
    }

    static void life(controlled& t, std::function<void()> f) {
        struct end_of_thread {
            ~end_of_thread() {
                if (this_thread != nullptr) this_thread->owner->finish(*this_thread);
            }
        };
        // Made before, so destroyed after all other thread_locals: their destructors are scheduled too.
        static thread_local end_of_thread at_the_end;
        (void)at_the_end;
        t.turn.acquire();
        if (t.owner->is_over_) return;
        this_thread = &t;
        try {
            f();
            f = nullptr;
        } catch (const execution_is_over&) {
        } catch (const std::exception& e) {
            t.owner->fail(std::string("an exception left a thread: ") + e.what());
        }
    }
    void finish(controlled& t) {
        note("end", {}, false);
        t.is = controlled::state::finished;
        controlled* const next = pick(t);
        this_thread = nullptr;
        if (next != nullptr) next->turn.release();
        else done_.release();
    }

    const std::uint32_t execution_;
    strategy& strategy_;
    const limits limits_;
    memory memory_;
    std::vector<std::unique_ptr<controlled>> threads_;
    std::vector<option> options_;
    std::vector<std::pair<std::size_t, std::size_t>> taken_; // choice, option; those but the first option
    std::size_t asked_ = 0;
    std::vector<happening> story_;
    std::uint64_t waits_ = 0;
    std::string failure_;
    bool is_over_ = false;
    baton done_{};
};

} // namespace schedules
