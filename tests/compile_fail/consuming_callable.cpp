// expect: resilience: the callable cannot be called with these arguments as lvalues
// most lines: 14
// [H-CPP-09] A second attempt would get an argument that the first has consumed.
#include <resilience/retry.hpp>

#include <memory>

int main() {
    const resilience::retry retry;
#ifdef CONTROL
    retry([](const std::unique_ptr<int>&) {}, std::make_unique<int>(1));
#else
    retry([](std::unique_ptr<int>) {}, std::make_unique<int>(1));
#endif
}
