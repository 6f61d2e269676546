// SPDX-License-Identifier: Apache-2.0
// This file is compiled for resilience::compiled, unit.cpp is header-only: one program holds both, and they share nothing.
#include "unit.hpp"

#include <resilience/resilience.hpp>

#include <cstdio>

namespace rs = resilience;

namespace {

bool holds(bool condition, const char* what) {
    std::printf("%s: %s\n", condition ? "holds" : "FAILS", what);
    return condition;
}

} // namespace

int main() {
    static_assert(RESILIENCE_COMPILED == 1);
    const rs::circuit_breaker breaker({.name = "two units"});
    const unit_view other = release_unit();

    bool passed =
        holds(other.global != &rs::registry::global(), "each form has a global registry of its own");
    passed &= holds(breaker.stats().calls == 0, "whose policies are others");
    passed &= holds(other.circuit_breaker == sizeof(rs::circuit_breaker) && other.event == sizeof(rs::event),
                    "of the same layout");
    breaker.force_open();
    const auto refused = breaker.try_call([] { return 1; });
    passed &= holds(refused.has_failure() && refused.error().code() == rs::errc::circuit_open,
                    "a code is that of the form that made it");
    return passed ? 0 : 1;
}
