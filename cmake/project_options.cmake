# SPDX-License-Identifier: Apache-2.0
# What our own tests, examples and benchmarks are compiled with. Never exported, never installed.
# Off in the presets with sanitizers, whose instrumentation makes g++ warn of what is not so.
option(RESILIENCE_WARNINGS_AS_ERRORS "Warnings in our own targets are errors" ON)
set(RESILIENCE_SANITIZE "" CACHE STRING "Sanitizers for our own targets, e.g. address,undefined or thread")

# -std=c++20, not gnu++20.
set(CMAKE_CXX_EXTENSIONS OFF)

add_library(resilience_project_options INTERFACE)
target_compile_options(
    resilience_project_options
    INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
              $<$<BOOL:${RESILIENCE_WARNINGS_AS_ERRORS}>:-Werror>)

# g++ looks through its whole heap for what it can free, precompiled headers included, and finds little: up to a fifth of the
# time of a file with many tests. It takes up to a third more memory, 2 GB for the largest unit.
cmake_host_system_information(RESULT megabytes QUERY TOTAL_PHYSICAL_MEMORY)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND megabytes GREATER_EQUAL 8000)
    target_compile_options(resilience_project_options INTERFACE --param=ggc-min-heapsize=1200000)
endif()

add_library(resilience_sanitizers INTERFACE)
target_link_libraries(resilience_project_options INTERFACE resilience_sanitizers)
if(RESILIENCE_SANITIZE)
    set(sanitizers -fsanitize=${RESILIENCE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_compile_options(resilience_sanitizers INTERFACE ${sanitizers})
    target_link_options(resilience_sanitizers INTERFACE ${sanitizers})
    if(TARGET resilience_compiled)
        target_compile_options(resilience_compiled PRIVATE ${sanitizers})
    endif()
endif()

# The compiled library, where there is one, for programs of ours that have no reason to do without it.
add_library(resilience_as_configured INTERFACE)
target_link_libraries(resilience_as_configured INTERFACE resilience::core)
if(TARGET resilience_compiled)
    target_link_libraries(resilience_as_configured INTERFACE resilience::compiled)
    target_compile_options(resilience_compiled PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
                                                       $<$<BOOL:${RESILIENCE_WARNINGS_AS_ERRORS}>:-Werror>)
endif()
