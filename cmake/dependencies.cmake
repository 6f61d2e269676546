# SPDX-License-Identifier: Apache-2.0
# Each dependency: the one that the parent project has, else an installed one, else a pinned release.
include(FetchContent)

# What we find must be seen by those who link our targets from another directory.
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)

macro(resilience_find_threads)
    set(THREADS_PREFER_PTHREAD_FLAG ON)
    find_package(Threads REQUIRED)
endmacro()

# Fetched dependencies are installed beside us, so that an installed package finds them again.
macro(resilience_fetch name url sha256)
    message(STATUS "resilience: ${name} is not installed, fetching ${url}")
    FetchContent_Declare(${name} URL ${url} URL_HASH SHA256=${sha256} DOWNLOAD_EXTRACT_TIMESTAMP ON SYSTEM)
    FetchContent_MakeAvailable(${name})
endmacro()

macro(resilience_find_fmt)
    if(NOT TARGET fmt::fmt)
        find_package(fmt 9 CONFIG QUIET)
    endif()
    if(NOT TARGET fmt::fmt)
        set(FMT_INSTALL ${RESILIENCE_INSTALL})
        resilience_fetch(
            fmt https://github.com/fmtlib/fmt/releases/download/10.2.1/fmt-10.2.1.zip
            312151a2d13c8327f5c9c586ac6cf7cddc1658e8f53edae0ec56509c8fa516c9)
    endif()
endmacro()

macro(resilience_find_spdlog)
    if(NOT TARGET spdlog::spdlog)
        find_package(spdlog 1.10 CONFIG QUIET)
    endif()
    if(NOT TARGET spdlog::spdlog)
        set(SPDLOG_FMT_EXTERNAL ON)
        set(SPDLOG_INSTALL ${RESILIENCE_INSTALL})
        resilience_fetch(
            spdlog https://github.com/gabime/spdlog/archive/refs/tags/v1.13.0.tar.gz
            534f2ee1a4dcbeb22249856edfb2be76a1cf4f708a20b0ac2ed090ee24cfdbc9)
    endif()
endmacro()

macro(resilience_find_httplib)
    if(NOT TARGET httplib::httplib)
        list(PREPEND CMAKE_MODULE_PATH ${PROJECT_SOURCE_DIR}/cmake)
        find_package(httplib 0.11 MODULE QUIET)
        list(POP_FRONT CMAKE_MODULE_PATH)
    endif()
    if(NOT TARGET httplib::httplib)
        set(HTTPLIB_INSTALL ${RESILIENCE_INSTALL})
        resilience_fetch(
            httplib https://github.com/yhirose/cpp-httplib/archive/refs/tags/v0.15.3.tar.gz
            2121bbf38871bb2aafb5f7f2b9b94705366170909f434428352187cb0216124e)
    endif()
endmacro()

macro(resilience_find_nlohmann_json)
    if(NOT TARGET nlohmann_json::nlohmann_json)
        find_package(nlohmann_json 3.11 CONFIG QUIET)
    endif()
    if(NOT TARGET nlohmann_json::nlohmann_json)
        set(JSON_Install ${RESILIENCE_INSTALL})
        resilience_fetch(
            nlohmann_json https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
            d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d)
    endif()
endmacro()

macro(resilience_find_asio)
    if(NOT TARGET asio::asio)
        list(PREPEND CMAKE_MODULE_PATH ${PROJECT_SOURCE_DIR}/cmake)
        find_package(asio 1.22 MODULE QUIET)
        list(POP_FRONT CMAKE_MODULE_PATH)
    endif()
    if(NOT TARGET asio::asio)
        # Without a build of its own: the headers are all there is.
        resilience_fetch(
            asio https://github.com/chriskohlhoff/asio/archive/asio-1-30-2.tar.gz
            755bd7f85a4b269c67ae0ea254907c078d408cce8e1a352ad2ed664d233780e8)
        add_library(asio::asio INTERFACE IMPORTED GLOBAL)
        target_include_directories(asio::asio INTERFACE ${asio_SOURCE_DIR}/asio/include)
        target_link_libraries(asio::asio INTERFACE Threads::Threads)
        if(RESILIENCE_INSTALL)
            install(DIRECTORY ${asio_SOURCE_DIR}/asio/include/ DESTINATION include FILES_MATCHING PATTERN "*pp")
        endif()
    endif()
endmacro()

# Too large to fetch.
macro(resilience_find_boost_asio)
    if(NOT TARGET Boost::headers)
        find_package(Boost 1.81 CONFIG QUIET)
        if(NOT Boost_FOUND)
            message(FATAL_ERROR "RESILIENCE_WITH_BOOST_ASIO needs Boost 1.81 or newer, which find_package did not find "
                                "(Debian 12: apt install libboost1.81-dev; its libboost-dev is 1.74).")
        endif()
    endif()
endmacro()

# For the tests alone. Catch2 2 and 3 both serve (tests/support/catch.hpp).
macro(resilience_find_catch2)
    if(NOT TARGET Catch2::Catch2)
        find_package(Catch2 CONFIG QUIET)
    endif()
    if(NOT TARGET Catch2::Catch2)
        resilience_fetch(
            Catch2 https://github.com/catchorg/Catch2/archive/refs/tags/v3.6.0.tar.gz
            485932259a75c7c6b72d4b874242c489ea5155d17efa345eb8cc72159f49f356)
    endif()
endmacro()

# For the tests alone: one of the expected-like results that callables may return.
macro(resilience_find_tl_expected)
    if(NOT TARGET tl::expected)
        find_package(tl-expected CONFIG QUIET)
    endif()
    if(NOT TARGET tl::expected)
        set(EXPECTED_BUILD_TESTS OFF)
        set(EXPECTED_BUILD_PACKAGE OFF)
        resilience_fetch(
            tl-expected https://github.com/TartanLlama/expected/archive/refs/tags/v1.1.0.tar.gz
            1db357f46dd2b24447156aaf970c4c40a793ef12a8a9c2ad9e096d9801368df6)
    endif()
endmacro()
