// SPDX-License-Identifier: Apache-2.0
// A plugin may call through policies while it is loaded, and be gone when its last error is read.
#include "linkage/loading.hpp"

#include <resilience/circuit_breaker.hpp>

#include <dlfcn.h>
#include <unistd.h>
#include <cstdio>
#include <system_error>
#include <thread>

std::atomic<stage>& loading_stage() {
    static std::atomic<stage> now{stage::before};
    return now;
}

int main() {
    alarm(60); // instead of a deadlock
    const resilience::circuit_breaker breaker({.name = "host"});
    void* plugin = nullptr;
    std::thread loader([&] { plugin = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL); });
    while (loading_stage() != stage::loading) std::this_thread::yield();
    std::thread caller([&] {
        (void)breaker.try_call([] { return 1; });
        loading_stage() = stage::called;
    });
    loader.join();
    caller.join();
    if (plugin == nullptr) return std::puts(dlerror()), 1;

    const auto set_error = reinterpret_cast<void (*)(std::error_code*)>(dlsym(plugin, "set_error"));
    std::error_code error;
    set_error(&error);
    (void)breaker([&] { return error; });
    dlclose(plugin);
    if (breaker.stats().last_error->message != "the plugin is down") return std::puts("another text"), 1;
    std::puts("loading: passed");
    return 0;
}
