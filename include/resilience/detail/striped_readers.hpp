// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <resilience/detail/striped.hpp>
#include <resilience/detail/striped_counters.hpp>
#include <resilience/detail/sync.hpp>

#include <cstdint>

namespace resilience { inline namespace RESILIENCE_ABI { namespace detail {

/// Lets threads read without a mutex what is seldom written. A reader marks its own stripe, which no other thread writes,
/// and reads unless a writer has announced itself. A writer announces itself and waits until no mark stands. It holds a
/// mutex, under which a reader that was turned away reads too: so nobody is kept waiting for ever.
///
/// A reader holds no lock that a fork waits for. In a forked child a mark is another process's, and stands for nobody.
class striped_readers {
public:
    /// While it lives and is true, what it guards may be read; if it is false, read under the mutex. Reading is short and
    /// waits for nothing. One at a time on a thread.
    class reading {
    public:
        RESILIENCE_INLINE explicit reading(striped_readers& of) noexcept {
            counter_stripe* const mine = of.threads_.mine();
            if (mine == nullptr) [[unlikely]]
                return;
            // Sequentially consistent, like their counterparts in `writing`: this thread sees that one writes, or that one
            // sees this thread. The load also sees all that the last writer did.
            mine->cells[0].store(of.process_.get(), std::memory_order_seq_cst);
            if (of.is_written_.load(std::memory_order_seq_cst)) [[unlikely]]
                mine->cells[0].store(0, std::memory_order_release); // as below: this thread has read before
            else mark_ = &mine->cells[0];
        }
        reading(const reading&) = delete;
        reading& operator=(const reading&) = delete;
        RESILIENCE_INLINE ~reading() {
            // Release: a writer that sees it changes nothing before it was read.
            if (mark_ != nullptr) mark_->store(0, std::memory_order_release);
        }
        explicit operator bool() const noexcept { return mark_ != nullptr; }

    private:
        atomic<std::uint64_t>* mark_ = nullptr;
    };

    /// Keeps readers out for as long as it lives. One at a time: under the mutex.
    class writing {
    public:
        RESILIENCE_COLD explicit writing(striped_readers& of) : announced_{of.is_written_} {
            announced_.flag.store(true, std::memory_order_seq_cst);
            of.threads_.each([&](const counter_stripe& reader, std::uint32_t) {
                for (int looks = 0; reader.cells[0].load(std::memory_order_seq_cst) == of.process_.get();
                     ++looks)
                    let_others_run(looks);
            });
        }
        writing(const writing&) = delete;
        writing& operator=(const writing&) = delete;

    private:
        /// Also of a thread that ends while it waits.
        struct announcement {
            atomic<bool>& flag;
            // Release: a reader that sees it sees what was written.
            ~announcement() { flag.store(false, std::memory_order_release); }
        };
        announcement announced_;
    };

private:
    // Invariant: the first cell is the process's number while its thread reads, else 0. Of the type that counters have: a
    // program then compiles one kind of stripes.
    striped<counter_stripe> threads_;
    const number_of_process process_{};
    alignas(64) atomic<bool> is_written_{false}; // by the thread that has a `writing`
};

}}} // namespace resilience::RESILIENCE_ABI::detail
