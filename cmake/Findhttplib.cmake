# SPDX-License-Identifier: Apache-2.0
# cpp-httplib as httplib::httplib: by its own CMake package, or by pkg-config (Debian ships no CMake
# package, and a compiled library whose feature macros only the .pc file knows).
include(FindPackageHandleStandardArgs)

find_package(httplib ${httplib_FIND_VERSION} CONFIG QUIET)

if(NOT TARGET httplib::httplib)
    find_package(PkgConfig QUIET)
    if(PkgConfig_FOUND)
        pkg_check_modules(cpp_httplib QUIET IMPORTED_TARGET GLOBAL cpp-httplib)
    endif()
    if(cpp_httplib_FOUND)
        find_package(Threads QUIET)
        add_library(httplib::httplib INTERFACE IMPORTED GLOBAL)
        target_link_libraries(httplib::httplib INTERFACE PkgConfig::cpp_httplib Threads::Threads)
        set(httplib_VERSION ${cpp_httplib_VERSION})
    endif()
endif()

if(TARGET httplib::httplib)
    set(httplib_target httplib::httplib)
endif()
find_package_handle_standard_args(
    httplib
    REQUIRED_VARS httplib_target
    VERSION_VAR httplib_VERSION
    HANDLE_COMPONENTS)
