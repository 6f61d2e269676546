// SPDX-License-Identifier: Apache-2.0
// An operator new and an aligned_alloc that count, for all of the program. Asio asks for its memory by the latter.
#include "harness.hpp"

#include <cstdint>
#include <cstdlib>
#include <new>

namespace {
thread_local std::uint64_t count = 0;
thread_local std::uint64_t bytes = 0;
}

std::uint64_t bench::allocations() noexcept { return count; }
std::uint64_t bench::allocated_bytes() noexcept { return bytes; }

int bench::work(int x) noexcept {
    asm volatile("" ::"r"(x));
    return x + 1;
}

void* operator new(std::size_t size) {
    ++count;
    bytes += size;
    if (void* p = std::malloc(size)) return p;
    throw std::bad_alloc();
}
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
    ++count;
    bytes += size;
    void* p = nullptr;
    return posix_memalign(&p, alignment < sizeof(void*) ? sizeof(void*) : alignment, size) == 0 ? p : nullptr;
}
void* operator new(std::size_t size, std::align_val_t alignment) {
    const auto a = static_cast<std::size_t>(alignment);
    if (void* p = aligned_alloc(a, (size + a - 1) / a * a)) return p;
    throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
