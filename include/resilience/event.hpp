// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/outside_of_calls.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/environment/labels.hpp>
#include <resilience/mechanism/circuit_state.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI {

enum class event_kind {
    attempt_failed,             ///< one per failed attempt of a retried call; `delay` if another follows
    retry_scheduled,            ///< `attempt` will start after `delay`
    retries_exhausted,          ///< max_attempts were made and all failed
    call_succeeded_after_retry, ///< the number `attempt` succeeded
    budget_exhausted,           ///< a retry was not made since the budget had no token
    state_changed,              ///< of a circuit: `from`, `to`, `generation`
    probe_succeeded_late,       ///< of a circuit: `delay` after its lease; see probe_lease
    would_have_tripped,         ///< of a circuit in metrics_only
    call_rejected,              ///< a policy refused an attempt
    would_have_rejected,        ///< a policy with dry_run let an attempt pass that it would have refused
    timed_out,                  ///< a limit passed without a result
    call_abandoned,             ///< the callable still runs, but nobody waits for it
    fallback_used,              ///< a fallback's value replaced a failure
    overran,                    ///< an attempt is past twice its limit; told when it ends or is looked at
    repeated_transparently,     ///< of a retry: `attempt` met a stale connection, and is made again at once
    policy_updated,             ///< a config was replaced
};

constexpr std::string_view to_string(event_kind kind) noexcept {
    switch (kind) {
    case event_kind::attempt_failed: return "attempt_failed";
    case event_kind::retry_scheduled: return "retry_scheduled";
    case event_kind::retries_exhausted: return "retries_exhausted";
    case event_kind::call_succeeded_after_retry: return "call_succeeded_after_retry";
    case event_kind::budget_exhausted: return "budget_exhausted";
    case event_kind::state_changed: return "state_changed";
    case event_kind::probe_succeeded_late: return "probe_succeeded_late";
    case event_kind::would_have_tripped: return "would_have_tripped";
    case event_kind::call_rejected: return "call_rejected";
    case event_kind::would_have_rejected: return "would_have_rejected";
    case event_kind::timed_out: return "timed_out";
    case event_kind::call_abandoned: return "call_abandoned";
    case event_kind::fallback_used: return "fallback_used";
    case event_kind::overran: return "overran";
    case event_kind::repeated_transparently: return "repeated_transparently";
    case event_kind::policy_updated: return "policy_updated";
    }
    return "unknown";
}

/// The kind of that name; empty if there is none.
constexpr std::optional<event_kind> event_kind_of(std::string_view name) noexcept {
    for (int k = 0; k <= static_cast<int>(event_kind::policy_updated); ++k) {
        if (to_string(static_cast<event_kind>(k)) == name) return static_cast<event_kind>(k);
    }
    return std::nullopt;
}

/// An action of a policy, with the numbers of its moment. A value: it may be kept, and it holds no exception.
struct event {
    event_kind kind{};
    /// The kind of policy: "retry", "circuit_breaker", ...
    std::string_view policy_kind{};
    /// The policy's name; empty for unnamed ones.
    std::string policy{};
    /// The name given with `named`; empty if none.
    std::string operation{};
    unsigned attempt = 0;
    unsigned max_attempts = 0;
    /// The number of retries that this call ran inside of: attempts multiply.
    unsigned retry_depth = 0;
    std::optional<duration> delay{};
    circuit_state from = circuit_state::closed;
    circuit_state to = circuit_state::closed;
    std::uint64_t failure_count = 0;
    std::uint64_t success_count = 0;
    /// The type of the exception, error or failing value.
    std::string error_type{};
    std::string error{};
    /// The reason in a few words: a rule's name, or an operator's reason.
    std::string reason{};
    time_point at{};
    std::chrono::system_clock::time_point wall{};
    /// Of a circuit: grows by one at each change of state.
    std::uint64_t generation = 0;
    /// The policy's labels.
    shared_labels labels{};
    /// Type and text of the first real failure of the call, where they differ from error_type and error. Set in the
    /// events that end a call of several attempts; empty otherwise.
    std::string first_error_type{};
    std::string first_error{};
    /// The failure is a time-out, also where the error is the client's own.
    bool timed_out = false;
    /// Another event of the call tells of the same failure, and of more: of a retry around, of a policy further in that
    /// told it before, or of the same retry, which gives up. Of all events about a final failure one has false here. Logs
    /// may leave out the others.
    bool is_told_again = false;
    /// The id of the trace or request that the call said it is part of (call_options::correlation); empty if none. Of a
    /// change of a circuit: that of the call that caused it.
    std::string correlation{};
};

namespace detail {

class subscriber;

/// Delivers events to subscribers. Their list is copied on write: no lock is held while a function runs.
class event_hub {
public:
    /// Relaxed: an event that races with a subscription may be delivered or not.
    bool has_subscribers() const noexcept { return count_.load(std::memory_order_relaxed) != 0; }

    std::shared_ptr<subscriber> add(std::function<void(const event&)> f);
    void remove(const std::shared_ptr<subscriber>& gone);
    void deliver(const event& e);
    void count_error() noexcept { errors_.fetch_add(1, std::memory_order_relaxed); }
    std::uint64_t errors() const noexcept { return errors_.load(std::memory_order_relaxed); }

private:
    using subscribers = std::vector<std::shared_ptr<subscriber>>;
    std::shared_ptr<subscribers> copied() const;
    void publish(std::shared_ptr<subscribers> next) noexcept;

    mutable detail::mutex mutex_;
    std::shared_ptr<const subscribers> subscribers_; // null: there are none; guarded by mutex_
    atomic<std::size_t> count_{0};                   // the number of subscribers_; written under mutex_
    atomic<std::uint64_t> errors_{0};                // only grows; relaxed: a count orders nothing
};

// A value, not a concept: a compiler explains at length why a concept does not hold.
template <class F>
constexpr bool is_subscriber = std::is_convertible_v<F, std::function<void(const event&)>> &&
                               std::is_copy_constructible_v<std::decay_t<F>>;

} // namespace detail

/// Ends the subscription when it is destroyed. Afterwards the function does not run any more, on any thread,
/// as with std::stop_callback; destroyed inside of the function it does not wait for itself. Two functions
/// that end each other's subscription while both run would wait for each other. A forked child
/// must not end one that its parent made.
class [[nodiscard]] subscription {
public:
    subscription() noexcept = default;
    subscription(std::shared_ptr<detail::event_hub> hub, std::shared_ptr<detail::subscriber> who) noexcept
        : hub_(std::move(hub)), who_(std::move(who)) {}
    subscription(subscription&& other) noexcept = default;
    subscription& operator=(subscription&& other) noexcept {
        if (this != &other) {
            end();
            hub_ = std::move(other.hub_);
            who_ = std::move(other.who_);
        }
        return *this;
    }
    ~subscription() { end(); }

    void end() noexcept {
        if (auto who = std::move(who_)) hub_->remove(who);
        who_.reset();
    }

private:
    std::shared_ptr<detail::event_hub> hub_;
    std::shared_ptr<detail::subscriber> who_;
};

#if RESILIENCE_BODIES
namespace detail {

/// A subscriber's function, and the state that ends it safely.
class subscriber {
public:
    explicit subscriber(std::function<void(const event&)> f) : function_(std::move(f)) {}

    /// False if the function threw.
    bool deliver(const event& e) {
        const running here(*this);
        // Sequentially consistent, like the store in end() and the counts: this thread sees that the subscription has
        // ended, or end() counts this thread.
        if (ended_in_.load(std::memory_order_seq_cst) != 0) return true;
        return returned([&] { function_(e); });
    }

    /// Returns when no other thread is inside the function, and none will enter it any more.
    void end() {
        unsigned mine = 0;
        for (const running* r = innermost_; r != nullptr; r = r->outer) mine += r->who == this ? 1 : 0;
        ended_in_.store(process_.get(), std::memory_order_seq_cst);
        unique_lock lock(waiting_);
        idle_.wait(lock, [&] { return running_.load(std::memory_order_seq_cst) == mine; });
    }

private:
    /// A delivery that runs on this thread.
    class running {
    public:
        explicit running(subscriber& which) noexcept : who(&which), outer(innermost_) {
            innermost_ = this;
            who->running_.fetch_add(1, std::memory_order_seq_cst);
        }
        running(const running&) = delete;
        running& operator=(const running&) = delete;
        ~running() {
            innermost_ = outer;
            who->leave();
        }

        subscriber* const who;
        const running* const outer;
    };

    void leave() {
        running_.fetch_sub(1, std::memory_order_seq_cst);
        if (ended_in_.load(std::memory_order_seq_cst) != process_.get()) return; // nobody waits here
        {
            const lock_guard lock(waiting_); // a waiting thread has not looked yet, or can be notified
        }
        idle_.notify_all();
    }
    static inline thread_local constinit const running* innermost_ = nullptr;

    std::function<void(const event&)> function_;
    const number_of_process process_{};
    atomic<unsigned> running_{0};       // threads inside the function, or about to see that it has ended
    atomic<std::uint32_t> ended_in_{0}; // the number of the process that ended it; 0: not ended
    waitable_mutex waiting_;            // locked only in that process
    condition_variable idle_;
};

} // namespace detail

/// A copy of the list, to be changed and published.
RESILIENCE_COLD RESILIENCE_FUNCTION std::shared_ptr<detail::event_hub::subscribers>
detail::event_hub::copied() const {
    return subscribers_ != nullptr ? std::make_shared<subscribers>(*subscribers_)
                                   : std::make_shared<subscribers>();
}
RESILIENCE_COLD RESILIENCE_FUNCTION void detail::event_hub::publish(
    std::shared_ptr<subscribers> next) noexcept {
    count_.store(next->size(), std::memory_order_relaxed);
    subscribers_ = std::move(next);
}
RESILIENCE_COLD RESILIENCE_FUNCTION std::shared_ptr<detail::subscriber> detail::event_hub::add(
    std::function<void(const event&)> f) {
    auto added = std::make_shared<subscriber>(std::move(f));
    const lock_guard lock(mutex_);
    auto list = copied();
    list->push_back(added);
    publish(std::move(list));
    return added;
}
RESILIENCE_COLD RESILIENCE_FUNCTION void detail::event_hub::remove(const std::shared_ptr<subscriber>& gone) {
    gone->end();
    // If memory runs out, the subscriber stays in the list and gets no more events.
    returned([&] {
        const lock_guard lock(mutex_);
        auto list = copied();
        std::erase(*list, gone);
        publish(std::move(list));
    });
}
RESILIENCE_COLD RESILIENCE_FUNCTION void detail::event_hub::deliver(const event& e) {
    std::shared_ptr<const subscribers> list;
    {
        const lock_guard lock(mutex_);
        list = subscribers_;
    }
    if (list == nullptr) return;
    const outside_of_calls listeners;
    for (const auto& each : *list) {
        if (!each->deliver(e)) count_error();
    }
}
#endif

}} // namespace resilience::RESILIENCE_ABI
