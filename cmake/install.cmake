# SPDX-License-Identifier: Apache-2.0
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(resilience_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/resilience)

install(DIRECTORY include/resilience DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.?pp")
if(RESILIENCE_WITH_SPDLOG)
    install(FILES ${PROJECT_BINARY_DIR}/include/resilience/dashboard_page.hpp
            DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/resilience)
endif()

# An export set per component: a component whose dependency is absent is then not loaded at all.
foreach(component IN LISTS resilience_components)
    install(TARGETS resilience_${component} EXPORT resilience-${component}-targets)
    install(EXPORT resilience-${component}-targets NAMESPACE resilience:: DESTINATION ${resilience_package_dir})
endforeach()

configure_package_config_file(
    cmake/resilience-config.cmake.in ${PROJECT_BINARY_DIR}/resilience-config.cmake
    INSTALL_DESTINATION ${resilience_package_dir})
if(NOT RESILIENCE_COMPILED)
    set(resilience_architecture ARCH_INDEPENDENT) # nothing but headers
endif()
write_basic_package_version_file(
    ${PROJECT_BINARY_DIR}/resilience-config-version.cmake
    # Before 1.0 a new minor version may change the interface.
    COMPATIBILITY SameMinorVersion ${resilience_architecture})
install(FILES ${PROJECT_BINARY_DIR}/resilience-config.cmake
              ${PROJECT_BINARY_DIR}/resilience-config-version.cmake cmake/components.cmake cmake/Findhttplib.cmake
              cmake/Findasio.cmake
        DESTINATION ${resilience_package_dir})

set(resilience_pc_files resilience-core.pc)
if(RESILIENCE_WITH_SPDLOG)
    list(APPEND resilience_pc_files resilience.pc)
endif()
foreach(pc IN LISTS resilience_pc_files)
    configure_file(cmake/${pc}.in ${PROJECT_BINARY_DIR}/${pc} @ONLY)
    install(FILES ${PROJECT_BINARY_DIR}/${pc} DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)
endforeach()
