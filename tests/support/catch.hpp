// SPDX-License-Identifier: Apache-2.0
#pragma once

// The one include of the test framework: Catch2 3 where it is installed, else Catch2 2.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
