// SPDX-License-Identifier: Apache-2.0
// A library loaded with RTLD_LOCAL joins the executable's registry by adopt_global.
#include <resilience/resilience.hpp>

#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <thread>

namespace {

template <class F>
F* function(void* library, const char* name) {
    return reinterpret_cast<F*>(dlsym(library, name));
}

bool holds(bool condition, const char* hazard, const char* what) {
    std::printf("%s %s: %s\n", hazard, condition ? "holds" : "FAILS", what);
    return condition;
}

/// A plugin counts the forks since it was loaded, the executable all: their numbers of this process may differ.
bool waits_for_readers(void* library) {
    resilience::detail::striped_readers readers;
    std::atomic<bool> written{false};
    std::thread writer;
    {
        const resilience::detail::striped_readers::reading mine(readers);
        writer = std::thread([&] {
            function<void(void*)>(library, "one_write")(&readers);
            written = true;
        });
        for (int looks = 0; looks < 100'000 && !written; ++looks) std::this_thread::yield();
        if (!holds(mine && !written, "[H-CPP-04]",
                   "a plugin that writes waits for a reader of the executable"))
            return writer.join(), false;
    }
    writer.join();
    return written;
}

bool works() {
    void* const library = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        std::printf("dlopen: %s\n", dlerror());
        return false;
    }
    auto& registry = resilience::registry::global();

    function<void(void*)>(library, "one_adopt")(&registry);
    function<void(const char*)>(library, "one_call")("plugin");

    const auto breaker = registry.circuit_breaker("plugin");
    const bool adopts =
        holds(breaker && breaker->calls == 1, "[H-CPP-02]", "a plugin adopts the executable's registry");
    return waits_for_readers(library) && adopts;
}

} // namespace

int main() {
    const pid_t child = fork(); // which loads the plugin after the fork
    if (child == 0) _exit(works() && std::fflush(stdout) == 0 ? 0 : 1);
    int status = -1;
    waitpid(child, &status, 0);
    return works() && status == 0 ? 0 : 1;
}
