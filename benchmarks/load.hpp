// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "report.hpp"

namespace bench {

/// The policies that hold load: what they cost a call that they let through, alone and on two threads, beside the atomic
/// operations that such a policy cannot do without.
void measure_load(int repetitions, double bare, const bounds& limits, verdict& v);

} // namespace bench
