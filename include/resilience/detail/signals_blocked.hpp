// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/config.hpp>

#include <pthread.h>
#include <signal.h>
#include <initializer_list>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// The program's handlers must not be run on our thread, nor signals that it waits for end there.
class signals_blocked {
public:
    signals_blocked() noexcept {
        sigset_t blocked;
        sigfillset(&blocked);
        // What a fault of the thread itself raises stays open, so that crash handlers still see it.
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS}) {
            sigdelset(&blocked, fault);
        }
        pthread_sigmask(SIG_SETMASK, &blocked, &before_);
    }
    signals_blocked(const signals_blocked&) = delete;
    signals_blocked& operator=(const signals_blocked&) = delete;
    ~signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

private:
    sigset_t before_;
};

}}} // namespace resilience::RESILIENCE_ABI::detail
