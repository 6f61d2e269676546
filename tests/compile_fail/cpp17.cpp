// expect: resilience needs C++20: compile with -std=c++20
// most lines: 20
#include HEADER
