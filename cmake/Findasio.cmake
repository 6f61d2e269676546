# SPDX-License-Identifier: Apache-2.0
# Standalone Asio as asio::asio: headers alone, which come without a CMake package.
include(FindPackageHandleStandardArgs)

if(NOT TARGET asio::asio)
    find_path(asio_INCLUDE_DIR asio/version.hpp)
    mark_as_advanced(asio_INCLUDE_DIR)
    if(asio_INCLUDE_DIR)
        # 102201 is 1.22.1
        file(STRINGS ${asio_INCLUDE_DIR}/asio/version.hpp asio_number REGEX "^#define ASIO_VERSION [0-9]+")
        string(REGEX REPLACE "^#define ASIO_VERSION ([0-9]+).*" "\\1" asio_number "${asio_number}")
        math(EXPR asio_major "${asio_number} / 100000")
        math(EXPR asio_minor "${asio_number} / 100 % 1000")
        math(EXPR asio_patch "${asio_number} % 100")
        set(asio_VERSION ${asio_major}.${asio_minor}.${asio_patch})
    endif()
    find_package_handle_standard_args(
        asio
        REQUIRED_VARS asio_INCLUDE_DIR
        VERSION_VAR asio_VERSION)
    if(asio_FOUND)
        find_package(Threads QUIET)
        add_library(asio::asio INTERFACE IMPORTED GLOBAL)
        target_include_directories(asio::asio INTERFACE ${asio_INCLUDE_DIR})
        target_link_libraries(asio::asio INTERFACE Threads::Threads)
    endif()
endif()
