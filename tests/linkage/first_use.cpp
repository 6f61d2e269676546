// SPDX-License-Identifier: Apache-2.0
// What the library makes on first use where nothing may fail (categories, names, outcomes) asks for no memory, and is
// there when static objects are destroyed.
#include <resilience/resilience.hpp>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace {

std::size_t allocations = 0;

bool holds(bool condition, const char* what) {
    std::printf("[H-CPP-03] %s: %s\n", condition ? "holds" : "FAILS", what);
    return condition;
}

bool answers() {
    const resilience::outcome<int> nothing;
    return make_error_code(resilience::errc::timed_out) == std::errc::timed_out &&
           resilience::detail::name().str().empty() && !nothing.has_value() &&
           nothing.error().exception() == nullptr;
}

struct last {
    ~last() {
        if (!holds(answers(), "they are there while statics are destroyed")) std::_Exit(1);
    }
};
const last destroyed_after_main;

} // namespace

void* operator new(std::size_t size) {
    ++allocations;
    if (void* const p = std::malloc(size)) return p;
    throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

int main() {
    const std::size_t before = allocations;
    const bool answered = answers();
    const bool without_memory = allocations == before;

    return holds(answered && without_memory, "their first use asks for no memory") ? 0 : 1;
}
