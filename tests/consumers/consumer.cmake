# SPDX-License-Identifier: Apache-2.0
# What the three CMake consumers have in common, once resilience is there: two programs, and the proof that
# our targets bring no flags of ours.
add_executable(consumer ${CMAKE_CURRENT_LIST_DIR}/main.cpp)
target_link_libraries(consumer PRIVATE resilience::core)

if(EXISTS ${RESILIENCE_SOURCE}/include/resilience/httplib.hpp)
    add_executable(text_consumer ${CMAKE_CURRENT_LIST_DIR}/text.cpp)
    target_link_libraries(text_consumer PRIVATE resilience::resilience resilience::httplib)
endif()

add_executable(asio_consumer ${CMAKE_CURRENT_LIST_DIR}/asio.cpp)
target_link_libraries(asio_consumer PRIVATE resilience::asio)
set(resilience_targets core resilience httplib asio)
if(TARGET resilience::boost_asio)
    add_executable(boost_asio_consumer ${CMAKE_CURRENT_LIST_DIR}/asio.cpp)
    target_compile_definitions(boost_asio_consumer PRIVATE CONSUMER_OF_BOOST)
    target_link_libraries(boost_asio_consumer PRIVATE resilience::boost_asio)
    list(APPEND resilience_targets boost_asio)
endif()

foreach(target IN LISTS resilience_targets)
    foreach(property IN ITEMS COMPILE_OPTIONS LINK_OPTIONS COMPILE_DEFINITIONS PRECOMPILE_HEADERS SOURCES)
        get_target_property(value resilience::${target} INTERFACE_${property})
        if(value)
            message(FATAL_ERROR "resilience::${target} imposes ${property}: ${value}")
        endif()
    endforeach()
endforeach()
if(TARGET core_tests OR TARGET resilience_project_options OR BUILD_TESTING)
    message(FATAL_ERROR "resilience built its own tests in the project of a user")
endif()
