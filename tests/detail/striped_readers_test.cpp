// SPDX-License-Identifier: Apache-2.0
#include <resilience/detail/striped_readers.hpp>

#include "support/catch.hpp"
#include "support/sanitizers.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <latch>
#include <thread>

namespace {

using resilience::detail::striped_readers;

TEST_CASE("a reader is turned away while somebody writes, and only then", "[striped_readers]") {
    striped_readers readers;

    CHECK(striped_readers::reading(readers));
    {
        const striped_readers::writing alone(readers);
        CHECK_FALSE(striped_readers::reading(readers));
    }
    CHECK(striped_readers::reading(readers));
    const striped_readers::writing alone(readers); // does not wait for readers that have gone
}

// Sanitizers have threads and locks of their own that a forked child does not get whole.
#if !SANITIZED_THREAD && !SANITIZED_ADDRESS

TEST_CASE("a child does not wait for a reader that its parent had", "[striped_readers][H-CPP-04]") {
    striped_readers readers;
    std::latch reads(1), forked(1);
    std::thread reader([&] {
        const striped_readers::reading undisturbed(readers);
        reads.count_down();
        forked.wait();
    });
    reads.wait();

    const pid_t child = fork();
    if (child == 0) {
        alarm(20); // ends a child that hangs
        const striped_readers::writing alone(readers);
        _exit(striped_readers::reading(readers) ? 1 : 0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    forked.count_down();
    reader.join();

    CHECK(status == 0);
    const striped_readers::writing alone(readers);
}

#endif

} // namespace
