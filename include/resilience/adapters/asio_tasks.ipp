// SPDX-License-Identifier: Apache-2.0

// Coroutines of Asio, for asio.hpp and boost_asio.hpp: included into a namespace where `net` is the library.

/// Wakes a handler on an executor at a moment, or sooner if a stop is requested. The handler always waits on
/// an Asio timer, so that its execution context knows it and destroys it with itself. A stop request cancels
/// that timer. If the clock is not the steady one, the timer never expires by itself, and a timer of the
/// clock cancels it. In a forked child an alarm that another thread was using may stay locked for ever.
template <class Ex>
class alarm {
public:
    enum class cause : std::uint8_t { none, moment, stop };

    alarm(const Ex& ex, time_source& clock, time_point at, const std::stop_token& stop)
        : timer_(ex, clock.is_steady_clock() && at != time_point::max() ? steady(at) : steady_time::max()),
          on_stop_(stop, ring{this, cause::stop}) {
        if (clock.is_steady_clock() || at == time_point::max()) return;
        if (clock.now() >= at) wake(cause::moment);
        else at_moment_ = clock.call_at(at, ring{this, cause::moment});
    }
    alarm(const alarm&) = delete;
    alarm& operator=(const alarm&) = delete;
    /// Locks, because with several threads on the executor one may resume the waiting coroutine and end it
    /// while another is still inside wait().
    ~alarm() { const lock_guard lock(mutex_); }

    /// Calls handler() on its executor when the alarm goes off, and when it is destroyed.
    template <class Handler>
    void wait(Handler handler) {
        // Locked: the alarm may go off on another thread meanwhile, and Asio's timers are not thread-safe.
        const lock_guard lock(mutex_);
        if (why_ != cause::none) timer_.expires_at(steady_time::min());
        timer_.async_wait(std::move(handler));
    }
    /// `none` if only the Asio timer has expired or nothing went off.
    cause why() {
        const lock_guard lock(mutex_);
        return why_;
    }

private:
    using steady_clock = std::chrono::steady_clock;
    using steady_time = steady_clock::time_point;

    struct ring {
        alarm* self;
        cause why;
        void operator()() const { self->wake(why); }
    };
    static steady_time steady(time_point at) {
        return steady_time(std::chrono::ceil<steady_clock::duration>(at.time_since_epoch()));
    }
    void wake(cause why) {
        const lock_guard lock(mutex_);
        if (why_ != cause::none) return;
        why_ = why;
        timer_.cancel();
    }

    waitable_mutex mutex_; // waitable, since the user's executors run under it
    net::basic_waitable_timer<steady_clock, net::wait_traits<steady_clock>, Ex> timer_; // guarded by mutex_
    cause why_ = cause::none;                                                           // guarded by mutex_
    // Declared last, so destroyed first: after their destructors no thread rings the alarm.
    timer at_moment_;
    std::stop_callback<ring> on_stop_;
};

/// Sleeps on the awaiting coroutine's executor. Its cancellation ends the sleep without an exception.
template <class Ex>
net::awaitable<void, Ex> sleep_until(time_source& clock, time_point until, std::stop_token stop) {
    const net::cancellation_state cancellation = co_await net::this_coro::cancellation_state;
    if (cancellation.cancelled() != net::cancellation_type::none) co_return; // it is not signalled again
    const Ex ex = co_await net::this_coro::executor;
    alarm<Ex> bell(ex, clock, until, stop);
    net_error_code cancelled;
    auto token = net::redirect_error(net::use_awaitable_t<Ex>{}, cancelled);
    auto start = [&bell](auto handler) { bell.wait(std::move(handler)); };
    auto waiting = net::async_initiate<decltype(token), void(net_error_code)>(start, token);
    co_await std::move(waiting);
}

/// The state that the parties of a race share. Used on the coroutine's executor only. If several threads run
/// that executor, it must be a strand, as Asio demands for every cancellation.
struct race_state {
    net::cancellation_signal end_task;
    task_limit* limit = nullptr;                                 ///< null when the race is over
    net::cancellation_type asked = net::cancellation_type::none; ///< of the waiting coroutine, in total
};

/// The value or the exception of a task, for the coroutine that awaits it. The exception is stored, since
/// otherwise each coroutine on the way would throw it again.
template <class T>
struct raced {
    std::exception_ptr failure;
    std::optional<T> value;
    T take() { return std::move(*value); }
};
template <>
struct raced<void> {
    std::exception_ptr failure;
    void take() {}
};

/// Awaits the task in a coroutine of its own, so that it can be cancelled without cancelling the coroutine
/// that waits.
template <class T, class Ex>
net::awaitable<void, Ex> run_task(net::awaitable<T, Ex> task, raced<T>& to, std::shared_ptr<race_state> state,
                                  bool throws_if_cancelled) {
    // Cancellations that arrive here have already passed the filters of the coroutine that waits.
    co_await net::this_coro::reset_cancellation_state(net::enable_total_cancellation());
    co_await net::this_coro::throw_if_cancelled(throws_if_cancelled);
    if (state->asked != net::cancellation_type::none) state->end_task.emit(state->asked); // before it began
    try {
        if constexpr (std::is_void_v<T>) {
            co_await std::move(task);
        } else {
            to.value.emplace(co_await std::move(task));
        }
    } catch (forced_unwind&) { // a cancelled thread: never swallowed
        throw;
    } catch (...) {
        to.failure = std::current_exception();
    }
    // Reported here, not when the waiting coroutine resumes. A task that is destroyed has not finished.
    if (state->limit != nullptr) state->limit->finish();
}

/// Awaits the task, and asks it to end when the limit strikes or the awaiting coroutine is cancelled.
template <class T, class Ex>
net::awaitable<T, Ex> race(net::awaitable<T, Ex> task, task_limit& limit) {
    const Ex ex = co_await net::this_coro::executor;
    const auto state = std::make_shared<race_state>();
    state->limit = &limit;
    const net::cancellation_state cancellation = co_await net::this_coro::cancellation_state;
    state->asked = cancellation.cancelled();
    if (state->asked != net::cancellation_type::none) limit.cancel();
    net::cancellation_slot own = cancellation.slot();
    const bool throws_if_cancelled = co_await net::this_coro::throw_if_cancelled();

    struct on_alarm {
        std::shared_ptr<race_state> state;
        alarm<Ex>* bell;
        void operator()(const net_error_code& ec) const {
            if (state->limit == nullptr) return; // the race is over and the alarm destroyed
            const auto why = bell->why();
            if (ec && why == alarm<Ex>::cause::none) return;
            const auto how =
                why == alarm<Ex>::cause::stop ? task_limit::end::stopped : task_limit::end::deadline;
            if (state->limit->strike(how)) state->end_task.emit(net::cancellation_type::terminal);
        }
    };
    alarm<Ex> bell(ex, limit.clock(), limit.deadline(), limit.stop_token());
    struct end_of_race {
        race_state& state;
        // The cancellation slot is left alone: a context that destroys this coroutine may have destroyed the
        // slot before. Asio clears it when the attempt has ended.
        ~end_of_race() { state.limit = nullptr; }
    } const at_the_end{*state};
    bell.wait(on_alarm{state, &bell});
    if (own.is_connected()) {
        own.assign([state](net::cancellation_type type) {
            if (state->limit == nullptr) return;
            state->limit->cancel();
            state->asked = state->asked | type;
            state->end_task.emit(type);
        });
    }
    raced<T> result;
    auto attempt = run_task<T, Ex>(std::move(task), result, state, throws_if_cancelled);
    auto token = net::bind_cancellation_slot(state->end_task.slot(), net::use_awaitable_t<Ex>{});
    auto ended = net::co_spawn(ex, std::move(attempt), token);
    co_await std::move(ended);
    if (result.failure) std::rethrow_exception(std::move(result.failure));
    co_return result.take();
}

/// The task_traits of Asio's awaitable.
template <class T, class Ex>
struct awaitable_traits {
    using value_type = T;
    template <class U>
    using rebind = net::awaitable<U, Ex>;

    static net::awaitable<void, Ex> sleep_until(time_source& clock, time_point until, std::stop_token stop) {
        return tasks::sleep_until<Ex>(clock, until, std::move(stop));
    }
    static net::awaitable<T, Ex> race(net::awaitable<T, Ex> task, task_limit& limit) {
        return tasks::race<T, Ex>(std::move(task), limit);
    }
    static net::this_coro::cancellation_state_t cancellation() noexcept { return {}; }
    static bool is_cancelled(const net::cancellation_state& state) noexcept {
        return state.cancelled() != net::cancellation_type::none;
    }
};
