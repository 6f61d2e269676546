// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/alerts/alert.hpp>
#include <resilience/alerts/config.hpp>
#include <resilience/alerts/ids.hpp>
#include <resilience/call/outside_of_calls.hpp>
#include <resilience/call/system_time.hpp>
#include <resilience/detail/quote.hpp>
#include <resilience/detail/redacted.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/detail/sync.hpp>
#include <resilience/detail/worker_pool.hpp>
#include <resilience/mechanism/alert_filter.hpp>
#include <resilience/registry.hpp>
#include <resilience/timeout.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The state that an alert_sink and its worker share. The filter is used under a lock, and alerts are sent
/// without it.
class alert_queue final : public worker_pool::job {
public:
    alert_queue(registry& where, alert_config config, std::function<void(const alert&)> send)
        : env_(where.env()), by_hand_(config.delivery == alert_delivery::by_hand), config_(std::move(config)),
          send_(std::move(send)), guard_({.limit = config_.send_limit, .keep_late = true}, own_),
          filter_({config_.deduplicate_for, config_.max_per_minute, config_.burst, config_.queue_capacity}),
          ids_(where.random()) {
        has_worker_ = !is_by_hand();
    }

    bool is_by_hand() const noexcept { return by_hand_; }

    /// Called on the thread that caused the event. The user's alert_if runs before the lock is taken. A forked
    /// child has no worker to send, and a thread of the parent's may have held the lock.
    void offer(const event& e) {
        if (sending_ != nullptr || process_ != process_number()) return;
        if (!(config_.alert_if ? config_.alert_if(e) : is_alert(e))) return;
        event kept = e; // afterwards the event it replaced: both are made and destroyed with no lock held
        for (std::string* text : {&kept.error, &kept.first_error}) {
            if (text->size() > longest_kept()) *text = std::string(clipped(*text, longest_kept()));
        }
        const std::string key = alert_fingerprint(e);
        const std::string group =
            e.kind == event_kind::state_changed ? std::string(e.policy_kind) + "|" + e.policy : std::string();
        const time_point now = env_->clock().now();
        {
            const lock_guard lock(mutex_);
            ++seen_;
            if (filter_.offer(key, group, kept, now, e.wall) != decltype(filter_)::answer::waits) return;
            ++changes_;
        }
        changed_.notify_all();
    }

    /// The worker's loop: sends the alerts that are due, then waits for more.
    void run() override {
        const worker_exit_guard at_exit(*this);
        do {
            returned([&] { deliver_due(); }); // if memory ran out, it tries again with the next event
        } while (wait_for_work());
    }
    void tell() noexcept override {}

    std::size_t deliver_due() {
        if (sending_ != nullptr) return 0;
        std::size_t tried = 0;
        while (!is_stopping() && deliver_one()) ++tried;
        return tried;
    }

    bool flush(duration at_most) {
        if (sending_ != nullptr) return false;
        const time_point until = saturating_add(system_time().now(), at_most);
        for (;;) {
            if (is_by_hand() && system_time().now() < until && deliver_one()) continue;
            const time_point now = env_->clock().now();
            unique_lock lock(mutex_);
            if (in_flight_ == 0 && filter_.next_due() > now) return true;
            if (system_time().now() >= until) return false;
            changed_.wait_until(lock, until);
        }
    }

    /// Ends the worker. Precondition: no thread is inside of offer(), or will be.
    void stop() {
        {
            const lock_guard lock(mutex_);
            stopping_ = true;
        }
        stop_.request_stop();
        changed_.notify_all();
        if (sending_ == this) return; // from inside of send: run() ends after it
        {
            unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return !has_worker_; });
        }
        send_ = nullptr; // the user's functions are destroyed here, not when the worker releases this
        config_ = {};
    }

    alert_stats stats() const {
        const lock_guard lock(mutex_);
        return {
            seen_,   sent_,         filter_.deduplicated(),        filter_.rate_limited(), filter_.dropped(),
            failed_, failed_sends_, filter_.waiting() + in_flight_};
    }

private:
    using taken = alert_filter<event>::taken;

    /// An alert being sent. The destructor counts how it ended, also if the thread is unwound inside of the
    /// user's function.
    class delivery_guard {
    public:
        delivery_guard(alert_queue& queue, taken& what) noexcept
            : queue_(queue), what_(what), outer_(std::exchange(sending_, &queue)) {}
        delivery_guard(const delivery_guard&) = delete;
        delivery_guard& operator=(const delivery_guard&) = delete;
        ~delivery_guard() {
            sending_ = outer_;
            // A sender may have destroyed its own sink, and the clock with it.
            const bool asks = !succeeded && !queue_.is_stopping();
            const time_point now = asks ? queue_.env_->clock().now() : time_point::min();
            {
                const lock_guard lock(queue_.mutex_);
                --queue_.in_flight_;
                ++(succeeded ? queue_.sent_ : queue_.failed_sends_);
                if (succeeded) queue_.filter_.sent(what_);
                else if (!queue_.filter_.failed(what_, now)) ++queue_.failed_;
            }
            queue_.changed_.notify_all();
        }
        bool succeeded = false;

    private:
        alert_queue& queue_;
        taken& what_;
        const alert_queue* const outer_;
    };
    class worker_exit_guard {
    public:
        explicit worker_exit_guard(alert_queue& queue) noexcept : queue_(queue) {}
        worker_exit_guard(const worker_exit_guard&) = delete;
        worker_exit_guard& operator=(const worker_exit_guard&) = delete;
        ~worker_exit_guard() {
            const lock_guard lock(queue_.mutex_);
            queue_.has_worker_ = false;
            queue_.changed_.notify_all();
        }

    private:
        alert_queue& queue_;
    };

    std::size_t longest_kept() const noexcept { return config_.redact ? 65'536 : config_.longest_text; }
    bool is_stopping() const {
        const lock_guard lock(mutex_);
        return stopping_;
    }

    bool deliver_one() {
        const outside_of_calls scope; // the alert is not the business of a call that delivers it by hand
        const time_point now = env_->clock().now();
        std::optional<taken> next;
        std::string id;
        {
            const lock_guard lock(mutex_);
            id = ids_.next(); // first: it allocates, and a taken alert must not be lost
            next = filter_.take(now);
            if (!next) return false;
            ++in_flight_;
        }
        delivery_guard here(*this, *next);
        const alert a = made_of(*next, std::move(id));
        here.succeeded =
            guard_.with({.stop_token = stop_.get_token()}).try_call([&] { send_(a); }).has_value();
        return true;
    }
    /// Makes the alert to send. `t` is left unchanged, since it may have to wait again.
    alert made_of(const taken& t, std::string id) const {
        alert a{.what = t.what};
        a.level = alert_level_of(a.what);
        a.held_back = t.held_back;
        a.first_seen = t.first;
        a.last_seen = t.last;
        a.fingerprint = t.key;
        a.id = std::move(id);
        a.labels = config_.labels;
        for (std::string* text : {&a.what.error, &a.what.first_error}) {
            if (!config_.redact || text->empty()) continue;
            const std::string shown = redacted(config_.redact, std::move(*text));
            *text = std::string(clipped(shown, config_.longest_text));
        }
        return a;
    }
    /// False if the sink is being destroyed.
    bool wait_for_work() {
        time_source& clock = env_->clock();
        std::uint64_t seen_changes = 0;
        time_point due;
        {
            const lock_guard lock(mutex_);
            if (stopping_) return false;
            seen_changes = changes_;
            due = filter_.next_due();
        }
        const bool steady = clock.is_steady_clock();
        timer alarm; // made and cancelled with no lock held: its function takes the lock
        if (!steady && due != time_point::max()) {
            // If there is no memory for a timer, the next event wakes the worker.
            returned([&] { alarm = clock.call_at(due, [this] { wake(); }); });
        }
        if (clock.now() >= due) return !is_stopping(); // the time may have come before the timer was set
        unique_lock lock(mutex_);
        while (!stopping_ && changes_ == seen_changes) {
            if (!steady || due == time_point::max()) changed_.wait(lock);
            else if (changed_.wait_until(lock, due) == cv_status::timeout) break;
        }
        return !stopping_;
    }
    void wake() {
        {
            const lock_guard lock(mutex_);
            ++changes_;
        }
        changed_.notify_all();
    }

    /// The queue this thread is sending for; events caused by sending are not alerts.
    static inline thread_local constinit const alert_queue* sending_ = nullptr;

    const std::shared_ptr<environment> env_;
    const bool by_hand_;
    alert_config config_; // these two do not change until stop()
    std::function<void(const alert&)> send_;
    registry own_; // of guard_: its events do not reach the user's registry
    const timeout guard_;
    std::stop_source stop_;
    const std::uint32_t process_ = process_number(); // the process that the worker runs in

    mutable waitable_mutex mutex_;
    condition_variable changed_;
    alert_filter<event> filter_; // guarded by mutex_, as are the members below
    alert_ids ids_;
    std::uint64_t changes_ = 0; // reasons for the worker to look again
    std::uint64_t seen_ = 0;
    std::uint64_t sent_ = 0;
    std::uint64_t failed_ = 0;
    std::uint64_t failed_sends_ = 0;
    unsigned in_flight_ = 0;
    bool has_worker_ = false;
    bool stopping_ = false;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
