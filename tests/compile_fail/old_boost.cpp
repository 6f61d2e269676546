// expect: resilience: Boost 1.81 or newer is needed (Debian 12: libboost1.81-dev)
// most lines: 19
// The version of Debian 12's default package, whatever is installed.
#define BOOST_ASIO_VERSION_HPP
#if defined(CONTROL)
#define BOOST_ASIO_VERSION 102600
#else
#define BOOST_ASIO_VERSION 101800
#endif
#include <resilience/boost_asio.hpp>

int main() { return 0; }
