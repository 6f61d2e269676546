// SPDX-License-Identifier: Apache-2.0
// One program, its translation units compiled in different ways: they agree on every layout, or they keep apart.
#include "unit.hpp"

#include <cstdio>

namespace {

bool holds(bool condition, const char* what) {
    std::printf("[H-CPP-18] %s: %s\n", condition ? "holds" : "FAILS", what);
    return condition;
}

} // namespace

int main() {
    bool passed = holds(debug_unit() == release_unit(), "NDEBUG, assertions and -O change no layout");
    passed &= holds(checked_unit().global != debug_unit().global, "a unit with other containers keeps apart");
    passed &= holds(unit_without_exceptions() == 3, "a unit without exceptions retries failing values");
    return passed ? 0 : 1;
}
