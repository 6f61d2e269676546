// SPDX-License-Identifier: Apache-2.0
// Catch2 2 is a header and wants its main compiled once; Catch2 3 brings its own (Catch2WithMain).
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
