// SPDX-License-Identifier: Apache-2.0
// A plugin that calls through a policy while it is loaded, and whose errors have a category of its own.
#include "linkage/loading.hpp"

#include <resilience/circuit_breaker.hpp>

#include <chrono>
#include <system_error>
#include <thread>

namespace {

class category_of_plugin : public std::error_category {
public:
    const char* name() const noexcept override { return "plugin"; }
    std::string message(int) const override { return "the plugin is down"; }
};
const category_of_plugin category;

const struct initialiser {
    initialiser() {
        loading_stage() = stage::loading;
        // Meanwhile another thread makes its first call, and may wait for the loader, which holds its lock here.
        const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds{100};
        while (loading_stage() != stage::called && std::chrono::steady_clock::now() < until)
            std::this_thread::yield();
        const resilience::circuit_breaker breaker({.name = "loading"});
        (void)breaker.try_call([] { return 1; });
    }
} at_load;

} // namespace

extern "C" void set_error(std::error_code* error) { *error = std::error_code(1, category); }
