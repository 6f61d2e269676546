#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Projects of users: by find_package after an installation, add_subdirectory, FetchContent and pkg-config.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

if [[ ! -e $root/include/resilience/resilience.hpp ]]; then
    echo "consumers: no resilience.hpp to include yet"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# quietly <name> <command>...: the output is shown where the command fails.
quietly() {
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then return 0; fi
    echo "consumers: $name: failed: $*"
    tail -n 40 "$work/log"
    return 1
}

# Every flag on the compiler's command line that is ours must not be there.
no_flags_of_ours() {
    if grep -nE -- '-W(error|all|extra|pedantic|shadow|conversion)|-fsanitize|-fno-exceptions' "$1"; then
        echo "consumers: flags of ours in $1"
        return 1
    fi
}

runs() {
    local name=$1 folder=$2 program
    for program in consumer compiled_consumer text_consumer asio_consumer boost_asio_consumer; do
        [[ ! -x $folder/$program ]] || quietly "$name" "$folder/$program" || return 1
    done
}

cmake_consumer() {
    local name=$1
    shift
    quietly "$name" cmake -G Ninja -S "$here/$name" -B "$work/$name" -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
        -DCMAKE_BUILD_TYPE=Debug "-DRESILIENCE_SOURCE=$root" "$@" &&
        quietly "$name" cmake --build "$work/$name" &&
        no_flags_of_ours "$work/$name/compile_commands.json" &&
        runs "$name" "$work/$name"
}

# The project that README shows, with the program that it shows, by CMake alone.
readme_consumer() {
    mkdir -p "$work/readme"
    block() { awk -v of='```'"$1" '$0 == "```" { inside = 0 } inside; $0 == of && !seen++ { inside = 1 }' "$root/README.md"; }
    block cmake >"$work/readme/CMakeLists.txt"
    block cpp >"$work/readme/main.cpp"
    quietly readme cmake -G Ninja -S "$work/readme" -B "$work/readme/build" "-DFETCHCONTENT_SOURCE_DIR_RESILIENCE=$root" &&
        quietly readme cmake --build "$work/readme/build" &&
        quietly readme "$work/readme/build/my_service"
}

install_library() {
    quietly install cmake -G Ninja -S "$root" -B "$work/build" -DRESILIENCE_BUILD_TESTS=OFF \
        -DRESILIENCE_BUILD_EXAMPLES=OFF -DRESILIENCE_BUILD_BENCHMARKS=OFF -DRESILIENCE_WITH_BOOST_ASIO=ON -DRESILIENCE_COMPILED=ON &&
        quietly install cmake --build "$work/build" &&
        quietly install cmake --install "$work/build" --prefix "$work/prefix.first" &&
        # Moved after the installation: nothing in it may know where it was built.
        mv "$work/prefix.first" "$work/prefix" &&
        if grep -rlE "$work|$root" "$work/prefix"; then
            echo "consumers: install: the files above name folders of the build"
            return 1
        fi
}

pkg_config_consumer() {
    export PKG_CONFIG_PATH=$work/prefix/share/pkgconfig
    local flags
    flags=$(pkg-config --cflags --libs resilience-core) || return 1
    echo "$flags" >"$work/flags"
    no_flags_of_ours "$work/flags" || return 1
    mkdir -p "$work/pkg_config"
    # shellcheck disable=SC2086
    quietly pkg_config "${CXX:-c++}" -std=c++20 "$here/main.cpp" -o "$work/pkg_config/consumer" $flags &&
        runs pkg_config "$work/pkg_config" &&
        quietly pkg_config pkg-config --cflags --libs resilience
}

check() {
    if "$@"; then echo "consumers: ${*:1:2}: passed"; else failed=$((failed + 1)); fi
}

# told <name> <text>... -- [cmake arguments]: that project cannot be configured, and is told each of the texts.
told() {
    local name=$1 texts=() text
    shift
    while [[ $1 != -- ]]; do texts+=("$1"); shift; done
    shift
    rm -rf "$work/missing"
    if cmake -G Ninja -S "$here/missing" -B "$work/missing" "$@" >"$work/log" 2>&1; then
        echo "consumers: $name: a project that asks for what is missing was configured"
        return 1
    fi
    tr -s '[:space:]' ' ' <"$work/log" >"$work/words" # CMake breaks lines where it likes
    for text in "${texts[@]}"; do
        grep -qF -- "$text" "$work/words" || { echo "consumers: $name: not told: $text"; tail -n 40 "$work/log"; return 1; }
    done
    if grep -q careful "$work/words"; then
        echo "consumers: $name: told of a target that may be missing"
        return 1
    fi
}

# A second installation, of the core alone; and the first one where libraries are not found.
missing() {
    local off=(-DRESILIENCE_BUILD_TESTS=OFF -DRESILIENCE_BUILD_EXAMPLES=OFF -DRESILIENCE_BUILD_BENCHMARKS=OFF)
    local option
    for option in SPDLOG HTTPLIB NLOHMANN_JSON ASIO; do off+=("-DRESILIENCE_WITH_$option=OFF"); done
    quietly missing cmake -G Ninja -S "$root" -B "$work/build.core" "${off[@]}" &&
        quietly missing cmake --install "$work/build.core" --prefix "$work/prefix.core" || return 1
    local core=("-DCMAKE_PREFIX_PATH=$work/prefix.core") all=("-DCMAKE_PREFIX_PATH=$work/prefix")
    told "components not built" \
        "has no component boost_asio, which is built with RESILIENCE_WITH_BOOST_ASIO=ON and needs Boost 1.81 (Debian 12: libboost1.81-dev" \
        "has no component compiled, which is built with RESILIENCE_COMPILED=ON; it has: core." \
        "has no component resilience, which is built with RESILIENCE_WITH_SPDLOG=ON and needs fmt 9 (Debian: libfmt-dev) and spdlog" \
        "resilience has no component no_such; there are: core, compiled," \
        -- "${core[@]}" "-DCOMPONENTS=compiled;resilience;boost_asio;no_such" &&
        told "fmt" "resilience::resilience needs fmt 9 (Debian: libfmt-dev), which was not found." \
            -- "${all[@]}" -DCOMPONENTS=httplib -DCMAKE_DISABLE_FIND_PACKAGE_fmt=ON &&
        told "httplib" "resilience::httplib needs cpp-httplib 0.11 (Debian: libcpp-httplib-dev), which was not found." \
            -- "${all[@]}" -DCOMPONENTS=httplib -DCMAKE_DISABLE_FIND_PACKAGE_httplib=ON &&
        told "boost" "resilience::boost_asio needs Boost 1.81" \
            -- "${all[@]}" -DCOMPONENTS=boost_asio -DCMAKE_DISABLE_FIND_PACKAGE_Boost=ON &&
        told "targets" \
            "app links to resilience::httplib, which is built with RESILIENCE_WITH_HTTPLIB=ON and needs cpp-httplib" \
            "their_interface links to resilience::boost_asio, which is built with RESILIENCE_WITH_BOOST_ASIO=ON" \
            -- "-DRESILIENCE_SOURCE=$root"
}

check install_library
check cmake_consumer find_package "-DCMAKE_PREFIX_PATH=$work/prefix"
check cmake_consumer add_subdirectory
check cmake_consumer fetch_content "-DFETCHCONTENT_SOURCE_DIR_RESILIENCE=$root"
check readme_consumer
check pkg_config_consumer
check missing
echo "consumers: $failed failed"
((failed == 0))
