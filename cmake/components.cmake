# SPDX-License-Identifier: Apache-2.0
# The options that build the components, and the libraries that these need, for the sentences that tell why one is not there.
set(resilience_all_components core compiled resilience httplib nlohmann_json asio boost_asio)

set(resilience_option_of_compiled RESILIENCE_COMPILED)
set(resilience_option_of_resilience RESILIENCE_WITH_SPDLOG)
set(resilience_option_of_httplib RESILIENCE_WITH_HTTPLIB)
set(resilience_option_of_nlohmann_json RESILIENCE_WITH_NLOHMANN_JSON)
set(resilience_option_of_asio RESILIENCE_WITH_ASIO)
set(resilience_option_of_boost_asio RESILIENCE_WITH_BOOST_ASIO)

set(resilience_library_fmt "fmt 9 (Debian: libfmt-dev)")
set(resilience_library_spdlog "spdlog 1.10 (Debian: libspdlog-dev)")
set(resilience_library_httplib "cpp-httplib 0.11 (Debian: libcpp-httplib-dev)")
set(resilience_library_nlohmann_json "nlohmann-json 3.11 (Debian: nlohmann-json3-dev)")
set(resilience_library_asio "standalone Asio 1.22 (Debian: libasio-dev)")
set(resilience_library_boost "Boost 1.81 (Debian 12: libboost1.81-dev, since its libboost-dev is 1.74)")

set(resilience_needs_of_resilience "${resilience_library_fmt} and ${resilience_library_spdlog}")
set(resilience_needs_of_httplib "${resilience_library_httplib}")
set(resilience_needs_of_nlohmann_json "${resilience_library_nlohmann_json}")
set(resilience_needs_of_asio "${resilience_library_asio}")
set(resilience_needs_of_boost_asio "${resilience_library_boost}")

# resilience_how_to_build(<out> <component>): the words that follow the name of a component that was not built.
function(resilience_how_to_build out component)
    set(text "which is built with ${resilience_option_of_${component}}=ON")
    if(DEFINED resilience_needs_of_${component})
        string(APPEND text " and needs ${resilience_needs_of_${component}}")
    endif()
    set(${out} "${text}" PARENT_SCOPE)
endfunction()

# Warns of each target below the directory that links to a component which this build does not have: of that CMake itself says
# only that the target was not found. It looks at names alone, so what it overlooks in a generator expression is left to CMake.
function(resilience_warn_of_missing_components directory)
    get_property(targets DIRECTORY "${directory}" PROPERTY BUILDSYSTEM_TARGETS)
    foreach(target IN LISTS targets)
        get_target_property(links ${target} LINK_LIBRARIES)
        get_target_property(interface_links ${target} INTERFACE_LINK_LIBRARIES)
        list(APPEND links ${interface_links})
        foreach(component IN LISTS resilience_all_components)
            if("resilience::${component}" IN_LIST links AND NOT TARGET resilience::${component})
                resilience_how_to_build(how ${component})
                message(WARNING "${target} links to resilience::${component}, ${how}. "
                                "Set the option before resilience is added.")
            endif()
        endforeach()
    endforeach()
    get_property(folders DIRECTORY "${directory}" PROPERTY SUBDIRECTORIES)
    foreach(folder IN LISTS folders)
        resilience_warn_of_missing_components("${folder}")
    endforeach()
endfunction()
# resilience_warn_at_the_end(<this file>): with the components of this file, whatever its caller's variables are.
function(resilience_warn_at_the_end file)
    include("${file}")
    resilience_warn_of_missing_components("${CMAKE_SOURCE_DIR}")
endfunction()
