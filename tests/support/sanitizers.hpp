// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which sanitizer the tests run under, by either compiler: SANITIZED_ADDRESS and SANITIZED_THREAD are 1 or 0.
#if defined(__has_feature)
#define SANITIZED_HAS(x) __has_feature(x)
#else
#define SANITIZED_HAS(x) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || SANITIZED_HAS(address_sanitizer)
#define SANITIZED_ADDRESS 1
#else
#define SANITIZED_ADDRESS 0
#endif

#if defined(__SANITIZE_THREAD__) || SANITIZED_HAS(thread_sanitizer)
#define SANITIZED_THREAD 1
#else
#define SANITIZED_THREAD 0
#endif
