// SPDX-License-Identifier: Apache-2.0
#include <resilience/detail/event_outbox.hpp>

#include "support/catch.hpp"

#include <stdexcept>
#include <string>
#include <vector>

namespace {

namespace rs = resilience;

/// An owner of an outbox, and its one listener.
struct outbox_owner {
    rs::detail::mutex mutex;
    rs::detail::event_outbox<std::string> outbox;
    std::vector<std::string> heard;

    bool put(const std::string& text) {
        const rs::detail::lock_guard lock(mutex);
        return outbox.put_locked([&] { return text; });
    }
    void deliver() {
        outbox.deliver(mutex, [this](const std::string& text) { heard.push_back(text); });
    }
};

TEST_CASE("an outbox delivers each event once, in the order in which they were put in",
          "[event_outbox][events]") {
    outbox_owner owner;
    CHECK(owner.outbox.is_empty_locked());

    CHECK(owner.put("one"));
    CHECK(owner.put("two"));
    CHECK_FALSE(owner.outbox.is_empty_locked());
    owner.deliver();
    owner.put("three");
    owner.deliver();
    owner.deliver();

    CHECK(owner.heard == std::vector<std::string>{"one", "two", "three"});
    CHECK(owner.outbox.is_empty_locked());
}

TEST_CASE("an event whose making throws is lost, and those around it are delivered",
          "[event_outbox][events]") {
    outbox_owner owner;
    owner.put("before");

    CHECK_FALSE(owner.outbox.put_locked([]() -> std::string { throw std::runtime_error("no memory"); }));

    owner.put("after");
    owner.deliver();
    CHECK(owner.heard == std::vector<std::string>{"before", "after"});
}

TEST_CASE("what a listener causes is delivered after what it is told of, by the same thread",
          "[event_outbox][events]") {
    outbox_owner owner;
    std::vector<std::string> finished;
    const auto listen = [&](const std::string& text) {
        owner.heard.push_back(text);
        if (text == "one") {
            owner.put("three");
            owner.deliver(); // leaves it to the delivery that is under way
        }
        finished.push_back(text);
    };
    owner.put("one");
    owner.put("two");

    owner.outbox.deliver(owner.mutex, listen);

    CHECK(owner.heard == std::vector<std::string>{"one", "two", "three"});
    CHECK(finished == owner.heard);
}

TEST_CASE("the owner's mutex is free while a listener runs", "[event_outbox][events]") {
    outbox_owner owner;
    owner.put("one");
    int told = 0;

    owner.outbox.deliver(owner.mutex, [&](const std::string&) {
        const rs::detail::lock_guard lock(owner.mutex); // a deadlock if it is held
        ++told;
    });

    CHECK(told == 1);
}

} // namespace
