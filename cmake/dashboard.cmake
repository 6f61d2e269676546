# SPDX-License-Identifier: Apache-2.0
# The dashboard (cmake/dashboard/) as a header, resilience/dashboard_page.hpp: one page with style and script in it,
# and the content security policy that allows just these two, by their hashes.
#
# As a script, for what compiles without a build folder (linters, snippets):
#     cmake -D RESILIENCE_GENERATED=<include dir> -P cmake/dashboard.cmake
include_guard(GLOBAL)

set(resilience_dashboard_dir ${CMAKE_CURRENT_LIST_DIR}/dashboard)

# resilience_base64_of_sha256(<64 hex digits> <out>): 32 bytes and a zero are 11 groups of three bytes, each of which
# is four digits of base 64; the last digit stands for nothing and is written as =.
function(resilience_base64_of_sha256 hex out)
    set(digits ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
    set(encoded "")
    foreach(at RANGE 0 60 6)
        string(SUBSTRING ${hex}00 ${at} 6 group)
        foreach(shift IN ITEMS 18 12 6 0)
            math(EXPR digit "(0x${group} >> ${shift}) & 63")
            string(SUBSTRING ${digits} ${digit} 1 digit)
            string(APPEND encoded ${digit})
        endforeach()
    endforeach()
    string(REGEX REPLACE ".$" "=" encoded ${encoded})
    set(${out} ${encoded} PARENT_SCOPE)
endfunction()

# resilience_dashboard_source(<name> <out>): with the line ends that a browser hashes, whatever git made of them.
function(resilience_dashboard_source name out)
    file(READ ${resilience_dashboard_dir}/${name} text)
    string(REPLACE "\r\n" "\n" text "${text}")
    if(NOT CMAKE_SCRIPT_MODE_FILE)
        set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${resilience_dashboard_dir}/${name})
    endif()
    set(${out} "${text}" PARENT_SCOPE)
endfunction()

# resilience_inline(<page variable> <line> <element> <file> <hash out>): the file takes the place of the line that
# refers to it.
function(resilience_inline page_variable line element name hash_out)
    resilience_dashboard_source(${name} text)
    string(TOLOWER "${text}" lower)
    string(FIND "${lower}" "</${element}" ends)
    string(FIND "${${page_variable}}" "${line}" found)
    if(NOT ends EQUAL -1 OR found EQUAL -1)
        message(FATAL_ERROR "${name} cannot be put into the page: it holds </${element}, or page.html lacks ${line}")
    endif()
    string(REPLACE "${line}" "<${element}>\n${text}</${element}>" replaced "${${page_variable}}")
    string(SHA256 digest "\n${text}")
    resilience_base64_of_sha256(${digest} encoded)
    set(${page_variable} "${replaced}" PARENT_SCOPE)
    set(${hash_out} "sha256-${encoded}" PARENT_SCOPE)
endfunction()

# resilience_raw_literals(<text> <out>): adjacent literals that end with a line and stay below the 16,380 bytes that
# a compiler need not exceed.
function(resilience_raw_literals text out)
    set(delimiter page)
    string(FIND "${text}" ")${delimiter}\"" taken)
    while(NOT taken EQUAL -1)
        string(APPEND delimiter _)
        string(FIND "${text}" ")${delimiter}\"" taken)
    endwhile()
    set(literals "")
    while(NOT text STREQUAL "")
        string(LENGTH "${text}" left)
        if(left GREATER 15000)
            string(SUBSTRING "${text}" 0 15000 piece)
            string(FIND "${piece}" "\n" line_end REVERSE)
            math(EXPR taken "${line_end} + 1")
            if(taken EQUAL 0)
                message(FATAL_ERROR "a line of the dashboard is longer than 15000 bytes")
            endif()
        else()
            set(taken ${left})
        endif()
        string(SUBSTRING "${text}" 0 ${taken} piece)
        string(SUBSTRING "${text}" ${taken} -1 text)
        string(APPEND literals "\n    R\"${delimiter}(${piece})${delimiter}\"")
    endwhile()
    set(${out} "${literals}" PARENT_SCOPE)
endfunction()

# resilience_write_dashboard(<include dir>): writes <include dir>/resilience/dashboard_page.hpp unless it is there.
function(resilience_write_dashboard include_dir)
    resilience_dashboard_source(page.html page)
    resilience_inline(page "<link rel=\"stylesheet\" href=\"style.css\">" style style.css style)
    resilience_inline(page "<script src=\"script.js\"></script>" script script.js script)
    # Trusted types: the browser itself refuses to turn a text into HTML.
    string(CONCAT policy "default-src 'none'; script-src '${script}'; style-src '${style}'; img-src data:; "
                         "connect-src 'self'; base-uri 'none'; form-action 'none'; "
                         "require-trusted-types-for 'script'; trusted-types 'none'")
    # In the page too, for servers that do not send it; there frame-ancestors means nothing.
    string(REPLACE "Content-Security-Policy\" content=\"\"" "Content-Security-Policy\" content=\"${policy}\"" with_policy "${page}")
    if(with_policy STREQUAL page)
        message(FATAL_ERROR "cmake/dashboard/page.html has no empty Content-Security-Policy to be filled")
    endif()
    set(page "${with_policy}")
    string(APPEND policy "; frame-ancestors 'none'")
    resilience_raw_literals("${page}" literals)
    string(LENGTH "${page}" size)
    string(CONCAT header
"// SPDX-License-Identifier: Apache-2.0
// Written by cmake/dashboard.cmake from the files in cmake/dashboard/.
#pragma once

#include <resilience/config.hpp>

#include <string_view>

namespace resilience { inline namespace RESILIENCE_ABI {

/// The dashboard, one page of HTML that loads nothing: serve it as text/html; charset=utf-8 beside the monitoring API.
inline constexpr std::string_view dashboard_page{" "${literals}" ",
    ${size}};

/// The Content-Security-Policy to serve it with: it names the page's own style and script by their hashes.
inline constexpr std::string_view dashboard_policy =
    \"${policy}\";

}} // namespace resilience::RESILIENCE_ABI
")
    set(file ${include_dir}/resilience/dashboard_page.hpp)
    set(written "")
    if(EXISTS ${file})
        file(READ ${file} written)
    endif()
    if(NOT written STREQUAL header)
        file(WRITE ${file} "${header}")
    endif()
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
    resilience_write_dashboard(${RESILIENCE_GENERATED})
endif()
