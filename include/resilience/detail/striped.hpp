// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/immortal.hpp>
#include <resilience/detail/sync.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Page p of an object's stripes has those of 2^p threads.
inline constexpr std::size_t stripe_pages = 8;
/// The number of threads that have stripes of their own at a time.
inline constexpr std::uint32_t exclusive_stripes = (1U << stripe_pages) - 1;

/// The number of a thread, by which it finds its stripe in each object. If `owner` is not the object's own, it has none
/// there. That covers threads that have no number yet, threads beyond the exclusive stripes, threads whose
/// thread_locals are destroyed, and shared libraries that number their threads for themselves.
struct thread_stripe {
    thread_stripe() noexcept = default;
    constexpr thread_stripe(const void* of, std::uint32_t number) noexcept
        : owner(of), index(number), page(static_cast<std::uint16_t>(std::bit_width(number + 1) - 1)),
          place(static_cast<std::uint16_t>(number + 1 - (1U << page))) {}

    const void* owner = nullptr;
    std::uint32_t index = 0;
    std::uint16_t page = 0;
    std::uint16_t place = 0;
};
RESILIENCE_VISIBLE inline constinit thread_local thread_stripe this_threads_stripe{};

/// Numbers the threads that count: each gets the lowest number that no living thread has. The new owner sees the old
/// owner's stores, since both lock the mutex in between. The instance is leaked, because threads may outlive statics.
class RESILIENCE_VISIBLE stripe_owners {
public:
    static stripe_owners& instance() noexcept;

    /// Gives this thread a number, once.
    void enlist() noexcept;

private:
    struct leaver {
        std::uint32_t index = exclusive_stripes;
        ~leaver();
    };
    static constexpr char nobody_ = 0;

    detail::mutex mutex_;
    std::array<std::uint64_t, 4> taken_{}; // a bit for each number; guarded by mutex_
    static_assert(exclusive_stripes <= 4 * 64);
};

/// A Stripe for each thread that comes, which no other thread writes. That of the first thread in the process lies in
/// place. Others are made when a thread comes, by pages, and kept for later threads of those numbers. Threads beyond the
/// 2^Pages - 1 first have none: who reads all stripes need not read more.
template <class Stripe, std::size_t Pages = stripe_pages>
class striped {
    static_assert(alignof(Stripe) >= 64, "no two stripes share a cache line");
    static_assert(Pages <= stripe_pages);

public:
    striped() noexcept : owners_(&stripe_owners::instance()) {
        pages_[0].store(&in_place_, std::memory_order_relaxed);
    }
    striped(const striped&) = delete;
    striped& operator=(const striped&) = delete;
    RESILIENCE_COLD ~striped() {
        for (std::size_t p = 1; p < Pages; ++p) delete[] pages_[p].load(std::memory_order_relaxed);
    }

    /// The stripe that this thread writes alone. Null if it has none: it must share one.
    RESILIENCE_INLINE Stripe* mine() noexcept {
        const thread_stripe& me = this_threads_stripe;
        if (me.owner != owners_) [[unlikely]]
            return come();
        Stripe* const page = pages_[me.page].load(std::memory_order_acquire);
        if (page == nullptr) [[unlikely]]
            return come();
        return page + me.place;
    }
    /// Calls f(stripe, number of its thread) for each stripe that is there. Sequentially consistent, like the making of a
    /// page: a stripe is not missed if its thread does not see a sequentially consistent store made before this.
    template <class F>
    void each(const F& f) const {
        for (std::uint32_t p = 0; p < Pages; ++p) {
            const Stripe* const page = pages_[p].load(std::memory_order_seq_cst);
            for (std::uint32_t i = 0; page != nullptr && i < size_of_page(p); ++i)
                f(page[i], size_of_page(p) - 1 + i);
        }
    }

private:
    static constexpr std::uint32_t size_of_page(std::uint32_t page) noexcept { return 1U << page; }

    /// Numbers the thread, if it has no number, and makes its page. Null if it gets none, or without memory.
    RESILIENCE_COLD Stripe* come() noexcept {
        if (this_threads_stripe.owner == nullptr) stripe_owners::instance().enlist();
        const thread_stripe me = this_threads_stripe;
        if (me.owner != owners_ || me.page >= Pages) return nullptr;
        auto& place = pages_[me.page];
        Stripe* page = place.load(std::memory_order_acquire);
        if (page != nullptr) return page + me.place;
        Stripe* const fresh = new (std::nothrow) Stripe[size_of_page(me.page)]{};
        if (fresh == nullptr) return nullptr;
        if (place.compare_exchange_strong(page, fresh, std::memory_order_seq_cst, std::memory_order_acquire))
            return fresh + me.place;
        delete[] fresh; // another thread was first
        return page + me.place;
    }

    Stripe in_place_{};
    // Calls read what follows. It is written when a thread comes.
    alignas(64) const void* const owners_;
    // Invariant: a page, once made, stays. Release and acquire: threads see it whole. See also each().
    std::array<atomic<Stripe*>, stripe_pages> pages_{}; // the first `Pages` of them
};

#if RESILIENCE_BODIES
RESILIENCE_FUNCTION stripe_owners::leaver::~leaver() {
    if (index == exclusive_stripes) return;
    auto& owners = instance();
    const lock_guard lock(owners.mutex_);
    owners.taken_[index / 64] &= ~(std::uint64_t{1} << index % 64);
    this_threads_stripe = {&nobody_, 0}; // for later thread_local destructors
}
RESILIENCE_COLD RESILIENCE_FUNCTION void stripe_owners::enlist() noexcept {
    // Before the lock: its destructor is registered under a lock of the dynamic loader, which may run code of ours.
    static thread_local leaver at_thread_exit;
    const lock_guard lock(mutex_);
    // The lowest: small pages come first.
    std::uint32_t index = 0;
    for (std::size_t w = 0; index == 64 * w && w < taken_.size(); ++w)
        index += static_cast<std::uint32_t>(std::countr_one(taken_[w]));
    if (index >= exclusive_stripes) {
        this_threads_stripe = {&nobody_, 0};
        return;
    }
    taken_[index / 64] |= std::uint64_t{1} << index % 64;
    at_thread_exit.index = index;
    this_threads_stripe = {this, index};
}
RESILIENCE_FUNCTION stripe_owners& stripe_owners::instance() noexcept {
    static constinit immortal<stripe_owners> owners;
    return owners.get();
}
#endif

}}} // namespace resilience::RESILIENCE_ABI::detail
