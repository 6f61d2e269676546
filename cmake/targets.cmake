# SPDX-License-Identifier: Apache-2.0
# The exported targets. They carry an include directory, the language level and their dependencies;
# warnings, sanitizers and optimisation are the user's own.

# resilience_add_component(<name> LINKS <target>...): defines resilience::<name> and notes it for installation.
set(resilience_components "")
macro(resilience_add_component name)
    cmake_parse_arguments(component "" "" "LINKS" ${ARGN})
    add_library(resilience_${name} INTERFACE)
    add_library(resilience::${name} ALIAS resilience_${name})
    set_target_properties(resilience_${name} PROPERTIES EXPORT_NAME ${name})
    target_link_libraries(resilience_${name} INTERFACE ${component_LINKS})
    list(APPEND resilience_components ${name})
endmacro()

resilience_find_threads()
resilience_add_component(core LINKS Threads::Threads)
target_include_directories(
    resilience_core INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                              $<INSTALL_INTERFACE:include>)
target_compile_features(resilience_core INTERFACE cxx_std_20)

# Who links it compiles less; the other targets stay header-only and go with it.
if(RESILIENCE_COMPILED)
    # Static, since a shared one would have to name what it exports; hidden, so that a user's shared library keeps it in.
    add_library(resilience_compiled STATIC src/resilience.cpp)
    add_library(resilience::compiled ALIAS resilience_compiled)
    set_target_properties(resilience_compiled PROPERTIES EXPORT_NAME compiled POSITION_INDEPENDENT_CODE ON
                                                         CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
    target_link_libraries(resilience_compiled PUBLIC resilience_core)
    target_compile_definitions(resilience_compiled PUBLIC RESILIENCE_COMPILED=1)
    # Without a build type it is optimised all the same: every call of a program passes through it.
    if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES AND NOT MSVC)
        target_compile_options(resilience_compiled PRIVATE -O2)
    endif()
    list(APPEND resilience_components compiled)
endif()

if(RESILIENCE_WITH_ASIO)
    resilience_find_asio()
    resilience_add_component(asio LINKS resilience_core asio::asio)
endif()
if(RESILIENCE_WITH_BOOST_ASIO)
    resilience_find_boost_asio()
    resilience_add_component(boost_asio LINKS resilience_core Boost::headers)
endif()

if(RESILIENCE_WITH_SPDLOG)
    resilience_find_fmt()
    resilience_find_spdlog()
    resilience_add_component(resilience LINKS resilience_core fmt::fmt spdlog::spdlog)

    include(cmake/dashboard.cmake)
    resilience_write_dashboard(${PROJECT_BINARY_DIR}/include)
    target_include_directories(resilience_resilience INTERFACE $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>)
endif()

if(RESILIENCE_WITH_NLOHMANN_JSON)
    resilience_find_nlohmann_json()
    resilience_add_component(nlohmann_json LINKS resilience_core nlohmann_json::nlohmann_json)
endif()

if(RESILIENCE_WITH_HTTPLIB)
    if(NOT RESILIENCE_WITH_SPDLOG)
        message(FATAL_ERROR "RESILIENCE_WITH_HTTPLIB=ON needs RESILIENCE_WITH_SPDLOG=ON: "
                            "resilience::httplib serves what resilience::resilience renders")
    endif()
    resilience_find_httplib()
    resilience_add_component(httplib LINKS resilience_resilience httplib::httplib)
endif()
