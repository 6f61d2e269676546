// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/returned.hpp>
#include <resilience/detail/sync.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Events on their way from the owner of a mutex to its listeners: put in under that mutex, delivered outside
/// of it, one at a time and in the order in which they were put in.
template <class Event>
class event_outbox {
public:
    /// Puts in what `make()` returns. False if that threw, or there was no memory: the event is lost, since
    /// what it tells of has happened all the same.
    template <class Make>
    bool put_locked(Make&& make) noexcept {
        return returned([&] { events_.push_back(make()); });
    }
    bool is_empty_locked() const noexcept { return events_.empty(); }

    /// Calls `tell(event)` for each event; called without the mutex. Only one thread delivers at a time: others
    /// leave their events to it, and so does a listener that causes more. After a fork a deliverer of the
    /// parent does not count. `tell` must not throw.
    template <class Tell>
    RESILIENCE_COLD void deliver(mutex& owners, Tell&& tell) noexcept {
        unique_lock lock(owners);
        if (delivering_in_ == process_number()) return;
        delivering_in_ = process_number();
        while (!events_.empty()) {
            std::vector<Event> batch = std::exchange(events_, {});
            lock.unlock();
            for (Event& e : batch) tell(e);
            lock.lock();
        }
        delivering_in_ = nobody;
    }

private:
    static constexpr std::uint32_t nobody = 0;

    std::vector<Event> events_;            // guarded by the owner's mutex; holds no memory while it is empty
    std::uint32_t delivering_in_ = nobody; // guarded likewise: the process of the thread that delivers
};

}}} // namespace resilience::RESILIENCE_ABI::detail
