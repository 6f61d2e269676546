// SPDX-License-Identifier: Apache-2.0
#pragma once

#if defined(_MSVC_LANG) ? _MSVC_LANG < 202002L : __cplusplus < 202002L
#error "resilience needs C++20: compile with -std=c++20, or with CXX_STANDARD 20 in CMake"
#include <resilience_needs_cpp20> // is not there: an error that ends the compilation, so that no other follows
#endif

/// The version of the library, for `#if`.
#define RESILIENCE_VERSION_MAJOR 0
#define RESILIENCE_VERSION_MINOR 1
#define RESILIENCE_VERSION_PATCH 0

/// 1 if the compiler has exceptions. Without them, a callable must carry its failure in the result, and a bad
/// config ends the program with its message.
#if defined(__cpp_exceptions)
#define RESILIENCE_EXCEPTIONS 1
#else
#define RESILIENCE_EXCEPTIONS 0
#endif

/// 0, the default: the library is its headers. 1 in a program that links resilience::compiled, which sets it:
/// functions that seldom run are compiled once, there, and the headers only declare them.
#if !defined(RESILIENCE_COMPILED)
#define RESILIENCE_COMPILED 0
#endif

/// The inline namespace. Its name has every setting that changes the layout of a type, and the form of the library: so
/// translation units with different settings share nothing, and fail to link where they would.
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
#if defined(_GLIBCXX_DEBUG) // other containers
#define RESILIENCE_ABI_CONTAINERS _debug
#else
#define RESILIENCE_ABI_CONTAINERS
#endif
#if RESILIENCE_COMPILED
#define RESILIENCE_ABI_FORM _compiled
#else
#define RESILIENCE_ABI_FORM
#endif
#define RESILIENCE_ABI_JOIN_(a, b, c, d, e) a##b##c##d##e
#define RESILIENCE_ABI_JOIN(a, b, c, d, e) RESILIENCE_ABI_JOIN_(a, b, c, d, e)
#define RESILIENCE_ABI                                                                                   \
    RESILIENCE_ABI_JOIN(v0_1, RESILIENCE_ABI_EXCEPTIONS, RESILIENCE_ABI_SYNC, RESILIENCE_ABI_CONTAINERS, \
                        RESILIENCE_ABI_FORM)

// Extensions of compilers. detail/platform.hpp has those of systems and C++ libraries.
#if defined(_MSC_VER) && !defined(__clang__)
#define RESILIENCE_MSVC 1
#else
#define RESILIENCE_MSVC 0
#endif

/// For types and objects that must exist once per process, also with -fvisibility=hidden. On Windows each DLL
/// has its own.
#if defined(_WIN32)
#define RESILIENCE_VISIBLE
#else
#define RESILIENCE_VISIBLE __attribute__((visibility("default")))
#endif

#if RESILIENCE_MSVC
#define RESILIENCE_NOINLINE __declspec(noinline)
/// For code that seldom runs: it stays out of line, so that the successful path is small.
#define RESILIENCE_COLD __declspec(noinline)
#else
#define RESILIENCE_NOINLINE __attribute__((noinline))
#define RESILIENCE_COLD __attribute__((noinline, cold))
#endif

/// 1 if a translation unit sees the bodies of these functions. A header has them below its classes, each
/// marked RESILIENCE_FUNCTION. Virtual functions are declared with it too: if one is not inline in its class,
/// the class is compiled by every file that includes it.
#if !RESILIENCE_COMPILED
#define RESILIENCE_BODIES 1
#define RESILIENCE_FUNCTION inline
#define RESILIENCE_INSTANTIATE(...)
#elif defined(RESILIENCE_COMPILING) // by src/resilience.cpp alone
#define RESILIENCE_BODIES 1
#define RESILIENCE_FUNCTION
#define RESILIENCE_INSTANTIATE(...) template __VA_ARGS__;
#else
#define RESILIENCE_BODIES 0
#define RESILIENCE_FUNCTION
/// Declares a template that the compiled library has for these arguments.
#define RESILIENCE_INSTANTIATE(...) extern template __VA_ARGS__;
#endif

/// For functions and lambdas of the successful path. It is off without an optimiser, so that a debugger can
/// step into them and a file with many pipelines compiles a sixth sooner. MSVC ignores it there by itself.
#if RESILIENCE_MSVC
#define RESILIENCE_INLINE __forceinline
#define RESILIENCE_INLINE_LAMBDA [[msvc::forceinline]]
#elif defined(__OPTIMIZE__)
#define RESILIENCE_INLINE inline __attribute__((always_inline))
#define RESILIENCE_INLINE_LAMBDA __attribute__((always_inline))
#else
#define RESILIENCE_INLINE inline
#define RESILIENCE_INLINE_LAMBDA
#endif

/// In the ABI of MSVC, clang-cl included, the standard's attribute does nothing.
#if defined(_MSC_VER)
#define RESILIENCE_NO_UNIQUE_ADDRESS [[msvc::no_unique_address]]
#else
#define RESILIENCE_NO_UNIQUE_ADDRESS [[no_unique_address]]
#endif

/// Ends the declaration of an operator that refuses its operands. clang lists all operators of the standard library
/// beside one that is deleted.
#if defined(__clang__)
#define RESILIENCE_REFUSED(why) __attribute__((unavailable(why)))
#else
#define RESILIENCE_REFUSED(why) = delete
#endif

/// Around coroutines: g++ 12 warns of a mismatch between operator new and delete of Asio's promises.
#if defined(__GNUC__) && !defined(__clang__)
#define RESILIENCE_COROUTINES_BEGIN \
    _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wmismatched-new-delete\"")
#define RESILIENCE_COROUTINES_END _Pragma("GCC diagnostic pop")
#else
#define RESILIENCE_COROUTINES_BEGIN
#define RESILIENCE_COROUTINES_END
#endif
