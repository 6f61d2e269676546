// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/outcome.hpp>
#include <resilience/circuit_breaker/config.hpp>
#include <resilience/detail/config_cell.hpp>
#include <resilience/detail/returned.hpp>
#include <resilience/environment/environment.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// What people want to know of a circuit: when, why, how often; and the events that are still to be
/// delivered. Guarded by the mutex of the breaker around it, but for deliver().
class breaker_journal {
public:
    explicit breaker_journal(wall_time now) : state_since(now) {}

    /// Called with the mutex held: the change has its number, and nobody is told before it is let go.
    void note(const transition& change, wall_time wall) {
        if (change.from == circuit_state::closed && change.to == circuit_state::open) ++trips;
        const bool was_out = seen_as(change.from) != circuit_state::closed;
        const bool is_out = seen_as(change.to) != circuit_state::closed;
        if (seen_as(change.to) == circuit_state::open && change.from != change.to) opened_at = wall;
        if (was_out && !is_out) opened_at.reset();
        state_since = wall;
    }
    /// `make()` gives the event. Without memory for it it is lost: the state has changed all the same.
    template <class Make>
    void queue(environment& env, Make&& make) {
        if (!returned([&] { events_.push_back(make()); })) env.hub.count_error();
    }
    /// Delivers what is queued, in order, on this thread, unless another thread (or a caller further up
    /// this one) is at it already: then that one delivers it. One that was at it when this process was forked is not
    /// here. Called without the mutex.
    void deliver(mutex& guard, environment& env, const config_cell<circuit_breaker_config>& config) {
        unique_lock lock(guard);
        if (delivering_in_ == process_number()) return;
        const at_it here(*this, lock);
        while (!events_.empty()) {
            const auto batch = std::exchange(events_, {});
            lock.unlock();
            for (const event& e : batch) tell(e, env, config.get());
            lock.lock();
        }
    }
    bool has_events() const noexcept { return !events_.empty(); }

    std::optional<wall_time> opened_at;
    std::optional<wall_time> last_failure_at;
    wall_time state_since;
    /// As people read it: the type's name is kept mangled, since few failures are ever looked at.
    std::optional<circuit_breaker_stats::error_text> last_error() const {
        if (!last_error_) return std::nullopt;
        return circuit_breaker_stats::error_text{demangled(last_error_->type.c_str()), last_error_->message};
    }
    void keep(circuit_breaker_stats::error_text mangled) { last_error_ = std::move(mangled); }

    std::string reason; // given with the last command by hand
    std::uint64_t trips = 0;

private:
    /// Ends also where the thread is ended inside a listener: the next one delivers what comes then.
    class at_it {
    public:
        at_it(breaker_journal& journal, unique_lock<mutex>& lock) noexcept
            : journal_(&journal), lock_(&lock) {
            journal.delivering_in_ = process_number();
        }
        at_it(const at_it&) = delete;
        at_it& operator=(const at_it&) = delete;
        ~at_it() {
            if (!lock_->owns_lock()) lock_->lock();
            journal_->delivering_in_ = 0;
        }

    private:
        breaker_journal* journal_;
        unique_lock<mutex>* lock_;
    };

    static void tell(const event& e, environment& env, const circuit_breaker_config& config) {
        const auto& callback = config.on_state_change;
        if (callback && e.kind == event_kind::state_changed && !returned([&] { callback(e); }))
            env.hub.count_error();
        if (env.has_listeners()) env.hub.deliver(e);
    }

    std::optional<circuit_breaker_stats::error_text> last_error_; // mangled
    std::vector<event> events_;                                   // a vector holds nothing while it is empty
    std::uint32_t delivering_in_ = 0; // the number of the process in which a thread delivers; 0: none does
};

/// Texts of a failure, its type mangled; made before any lock is taken: what() is the user's code.
inline circuit_breaker_stats::error_text texts_of(const attempt_result& result) {
    constexpr std::size_t most = 256;
    circuit_breaker_stats::error_text text; // empty where there is no memory for it, or what() throws
    returned([&] {
        const failure why = result.error() != nullptr ? *result.error() : result.as_failure();
        const std::type_info* type = why.type();
        text = {type != nullptr ? type->name() : "unknown", why.message()};
        if (text.message.size() > most) text.message.resize(most);
    });
    return text;
}

}}} // namespace resilience::RESILIENCE_ABI::detail
