// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/error.hpp>
#include <resilience/call/time.hpp>
#include <resilience/config.hpp>
#include <resilience/detail/sync.hpp>

#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI { namespace testing {

// The words of a script. A value needs none: `scripted<int> f{1, throws(std::runtime_error("x")), 3}`.

/// A step that returns: `returns()` for void, `returns(value)` where the bare value would be ambiguous.
template <class V = void>
struct returns {
    V value;
    explicit returns(V v) : value(std::forward<V>(v)) {}
};
template <>
struct returns<void> {};
returns() -> returns<void>;

/// A step that throws a copy of `exception`, or the exception in a std::exception_ptr.
template <class E>
struct throws {
    E exception;
    explicit throws(E e) : exception(std::move(e)) {}
};

/// A step that returns the result of `f()`.
template <class F>
struct runs {
    F function;
    explicit runs(F f) : function(std::move(f)) {}
};

/// `step`, played when `latency` has passed on the script's clock. The sleep ignores stop requests.
template <class S>
struct after {
    duration latency;
    S step;
    after(duration d, S s) : latency(d), step(std::forward<S>(s)) {}
};

/// A step of a scripted<R>: made from a value of R or from one of the words above.
template <class R>
class step {
public:
    template <class V>
        requires(!std::is_void_v<R> && std::convertible_to<V, R> &&
                 !std::same_as<std::remove_cvref_t<V>, step>)
    step(V&& value) : play_(value_player(std::forward<V>(value))) {}
    template <class V>
    step(returns<V> r) : step(std::forward<V>(r.value)) {}
    step(returns<void>)
        requires std::is_void_v<R>
        : play_([] {}) {}
#if RESILIENCE_EXCEPTIONS
    template <class E>
    step(throws<E> t)
        : play_([e = std::move(t.exception)]() -> R {
              if constexpr (std::same_as<E, std::exception_ptr>) std::rethrow_exception(e);
              throw e;
          }) {}
#endif
    template <class F>
    step(runs<F> r) : play_(std::move(r.function)) {}
    template <class S>
    step(after<S> a) : step(std::forward<S>(a.step)) {
        latency_ = saturating_add(time_point{latency_}, a.latency).time_since_epoch();
    }

    duration latency() const { return latency_; }
    R play() const { return play_(); }

private:
    template <class V>
    static std::function<R()> value_player(V&& value) {
        if constexpr (std::is_reference_v<R>) {
            return [&value]() -> R { return static_cast<R>(value); };
        } else if constexpr (std::copy_constructible<R>) {
            return [kept = R(std::forward<V>(value))] { return kept; };
        } else {
            // std::function needs a copyable callable, so a move-only value is shared, and gone after it was
            // played.
            auto kept = std::make_shared<std::optional<R>>(std::forward<V>(value));
            return [kept]() -> R {
                if (!*kept)
                    detail::raise(std::logic_error("scripted: a move-only value can be played once only"));
                R played = std::move(**kept);
                kept->reset();
                return played;
            };
        }
    }

    duration latency_{0};
    std::function<R()> play_;
};

/// A callable that plays one step per call, whatever its arguments are, and counts its calls. Copies share
/// the script. Any thread may call it; the steps run with no lock held.
///
/// A call after the last step throws std::logic_error, unless repeat_last() was called.
template <class R>
class scripted {
public:
    /// Throws std::invalid_argument if a step is an `after`, which needs a clock.
    scripted(std::initializer_list<step<R>> steps) : scripted(nullptr, std::vector<step<R>>(steps)) {}
    scripted(time_source& clock, std::initializer_list<step<R>> steps)
        : scripted(&clock, std::vector<step<R>>(steps)) {}
    /// Takes the steps, or values, of a range.
    template <std::ranges::input_range Steps>
        requires std::convertible_to<std::ranges::range_reference_t<Steps>, step<R>>
    explicit scripted(Steps&& steps) : scripted(nullptr, listed(steps)) {}
    template <std::ranges::input_range Steps>
        requires std::convertible_to<std::ranges::range_reference_t<Steps>, step<R>>
    scripted(time_source& clock, Steps&& steps) : scripted(&clock, listed(steps)) {}

    /// A script whose last step is repeated for ever.
    scripted repeat_last() const {
        const detail::lock_guard lock(script_->mutex);
        script_->repeat_last = true;
        return *this;
    }

    template <class... Args>
    R operator()(Args&&...) const {
        const step<R>& now = script_->next();
        if (now.latency() > duration{0}) {
            time_source& clock = *script_->clock;
            clock.sleep_until(saturating_add(clock.now(), now.latency()), {});
        }
        return now.play();
    }

    /// The number of calls so far, calls beyond the end of the script included.
    std::size_t calls() const {
        const detail::lock_guard lock(script_->mutex);
        return script_->calls;
    }

private:
    struct script {
        time_source* const clock;
        const std::vector<step<R>> steps;
        detail::mutex mutex;
        std::size_t calls = 0;    // guarded by mutex
        bool repeat_last = false; // guarded by mutex

        script(time_source* c, std::vector<step<R>> s) : clock(c), steps(std::move(s)) {}

        const step<R>& next() {
            std::size_t index = 0;
            {
                const detail::lock_guard lock(mutex);
                index = calls++;
                if (repeat_last && index >= steps.size() && !steps.empty()) index = steps.size() - 1;
            }
            if (index < steps.size()) return steps[index];
            detail::raise(std::logic_error("scripted: called more often than the script has steps"));
        }
    };

    template <class Steps>
    static std::vector<step<R>> listed(Steps& steps) {
        std::vector<step<R>> all;
        for (auto&& each : steps) all.push_back(std::forward<decltype(each)>(each));
        return all;
    }
    scripted(time_source* clock, std::vector<step<R>> steps)
        : script_(std::make_shared<script>(clock, std::move(steps))) {
        for (const auto& s : script_->steps) {
            if (s.latency() <= duration{0} || clock != nullptr) continue;
            detail::raise(std::invalid_argument("scripted: a script with after() needs a clock"));
        }
    }

    std::shared_ptr<script> script_;
};

}}} // namespace resilience::RESILIENCE_ABI::testing
