// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

enum class stage { before, loading, called };
/// How far the program has come; of the program, also where a plugin asks.
std::atomic<stage>& loading_stage();
