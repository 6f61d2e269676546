// SPDX-License-Identifier: Apache-2.0
#pragma once

/// The version of the library, for `#if`.
#define RESILIENCE_VERSION_MAJOR 0
#define RESILIENCE_VERSION_MINOR 1
#define RESILIENCE_VERSION_PATCH 0

/// 1 where the compiler has exceptions. Without them only callables that carry their failure in
/// the result are of use, and a bad config ends the program with its message.
#if defined(__cpp_exceptions)
#define RESILIENCE_EXCEPTIONS 1
#else
#define RESILIENCE_EXCEPTIONS 0
#endif

/// The inline namespace names the layout it promises: whatever changes the layout of a type is part
/// of the name, so that two translation units built differently fail to link instead of misbehaving.
#if defined(RESILIENCE_SYNC_HEADER)
#define RESILIENCE_ABI_SYNC _instrumented
#else
#define RESILIENCE_ABI_SYNC
#endif
#if RESILIENCE_EXCEPTIONS
#define RESILIENCE_ABI_EXCEPTIONS
#else
#define RESILIENCE_ABI_EXCEPTIONS _noexcept
#endif
#define RESILIENCE_ABI_JOIN_(a, b, c) a##b##c
#define RESILIENCE_ABI_JOIN(a, b, c) RESILIENCE_ABI_JOIN_(a, b, c)
#define RESILIENCE_ABI RESILIENCE_ABI_JOIN(v0_1, RESILIENCE_ABI_EXCEPTIONS, RESILIENCE_ABI_SYNC)

/// Types and objects that must be one per process whatever the user's -fvisibility says.
#define RESILIENCE_VISIBLE __attribute__((visibility("default")))
/// What is seldom run: kept out of line, so that the successful path stays small.
#define RESILIENCE_COLD __attribute__((noinline, cold))
/// What is compiled once and called from many places.
#define RESILIENCE_NOINLINE __attribute__((noinline))
/// What the successful path is made of. Without an optimiser nothing is gained by it: a debugger has functions to step
/// into, and a file with many pipelines compiles a sixth sooner.
#if defined(__OPTIMIZE__)
#define RESILIENCE_INLINE inline __attribute__((always_inline))
#define RESILIENCE_INLINE_LAMBDA __attribute__((always_inline))
#else
#define RESILIENCE_INLINE inline
#define RESILIENCE_INLINE_LAMBDA
#endif
