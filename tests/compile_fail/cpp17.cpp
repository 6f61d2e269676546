// expect: resilience needs C++20: compile with -std=c++20
// lines: 20
#include HEADER
