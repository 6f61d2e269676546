// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/call/system_time.hpp>
#include <resilience/call/time.hpp>
#include <resilience/detail/sync.hpp>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#include <ctime>
#include <utility>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Shuts a socket down at a moment of the machine's time, whatever the other side does. The limits of
/// cpp-httplib start anew with each read and write, so a server that sends a byte now and then can hold its
/// client for ever. httplib::Client::stop() does not help: it waits for a connection that is being made.
///
/// Keeps a duplicate of the descriptor, so that it never touches a number that was closed and used again.
class socket_limit {
public:
    explicit socket_limit(duration from_now)
        : timer_(system_time().call_at(saturating_add(system_time().now(), from_now), [this] { pass(); })) {}
    socket_limit(const socket_limit&) = delete;
    socket_limit& operator=(const socket_limit&) = delete;
    ~socket_limit() {
        timer_ = {}; // after this no thread is inside of pass()
        if (copy_ >= 0) ::close(copy_);
    }

    /// Sets the socket that the limit applies to.
    void watch(int socket) {
        int copy =
            ::fcntl(socket, F_DUPFD_CLOEXEC, 0); // -1: no descriptor left, then httplib's limits remain
        {
            const lock_guard lock(mutex_);
            if (passed_ && copy >= 0) ::shutdown(copy, SHUT_RDWR);
            std::swap(copy, copy_);
        }
        if (copy >= 0) ::close(copy);
    }
    bool passed() const {
        const lock_guard lock(mutex_);
        return passed_;
    }

private:
    void pass() {
        const lock_guard lock(mutex_);
        passed_ = true;
        if (copy_ >= 0) ::shutdown(copy_, SHUT_RDWR);
    }

    mutable mutex mutex_;
    bool passed_ = false; // guarded by mutex_, as is copy_
    int copy_ = -1;
    timer timer_; // last: it may run at once
};

/// Keeps a peer that hangs up during a write from ending the process. It blocks SIGPIPE on this thread and
/// removes a SIGPIPE that came meanwhile, unless the signal was already blocked or pending.
class sigpipe_held_back {
public:
    sigpipe_held_back() noexcept {
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    sigpipe_held_back(const sigpipe_held_back&) = delete;
    sigpipe_held_back& operator=(const sigpipe_held_back&) = delete;
    ~sigpipe_held_back() {
        if (sigismember(&before_, SIGPIPE) == 1) return; // a SIGPIPE was pending only if it was blocked
        const timespec at_once{};
        sigtimedwait(&pipe_, nullptr, &at_once);
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }

private:
    sigset_t pipe_;
    sigset_t before_;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
