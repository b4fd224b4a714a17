# strait_module(NAME dir DEPS a b ...): one static library per folder, linked to what its row of
# the include table allows and to nothing else. Sources are every .cc directly in the folder and in
# the named SUBDIRS.
add_library(strait_options INTERFACE)
target_include_directories(strait_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)

# strait_flags(LANGUAGE flag...): flags of one language for everything.
function(strait_flags language)
  target_compile_options(strait_options INTERFACE "$<$<COMPILE_LANGUAGE:${language}>:${ARGN}>")
endfunction()

strait_flags(CXX -Wall -Wextra -Wpedantic -fno-math-errno)
# What nvcc hands to the host compiler is not pedantic. Diagnostic 554 overlooks the constraint of a
# conversion operator.
strait_flags(CUDA -Xcompiler=-Wall,-Wextra --diag-suppress=554)
if(STRAIT_WERROR)
  strait_flags(CXX -Werror)
  strait_flags(CUDA -Werror=all-warnings -Xcompiler=-Werror)
endif()
if(STRAIT_NATIVE)
  strait_flags(CXX -march=native)
  # With AVX-512 GCC 12.2 makes wrong code: it stores the constant {4, 4, 4, 0} as {4, 4, 4, 4}.
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13 AND
     CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    strait_flags(CXX -mno-avx512f)
  endif()
endif()
if(STRAIT_SANITIZE)
  strait_flags(CXX -fsanitize=${STRAIT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(strait_options INTERFACE -fsanitize=${STRAIT_SANITIZE})
  # An index within a vector's capacity but beyond its size is no error to AddressSanitizer.
  target_compile_definitions(strait_options INTERFACE _GLIBCXX_ASSERTIONS)
  # In instrumented code GCC takes members of std::regex for uninitialised (GCC bug 105562).
  strait_flags(CXX -Wno-maybe-uninitialized)
endif()

function(strait_module name dir)
  cmake_parse_arguments(ARG "" "" "SUBDIRS;DEPS;PRIVATE_DEPS" ${ARGN})
  set(patterns ${dir}/*.cc)
  foreach(sub ${ARG_SUBDIRS})
    list(APPEND patterns ${dir}/${sub}/*.cc)
  endforeach()
  file(GLOB sources CONFIGURE_DEPENDS ${patterns})
  if(sources)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC strait_options ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE strait_options ${ARG_DEPS})
  endif()
endfunction()

function(strait_print_summary)
  message(STATUS "")
  message(STATUS "strait ${PROJECT_VERSION}, ${CMAKE_BUILD_TYPE}")
  foreach(row ${STRAIT_SUMMARY})
    string(REPLACE "|" ";" cells "${row}")
    list(GET cells 0 what)
    list(GET cells 1 found)
    list(GET cells 2 enables)
    string(LENGTH "${what}" length)
    math(EXPR pad "16 - ${length}")
    string(REPEAT " " ${pad} spaces)
    message(STATUS "  ${what}${spaces}${found} -> ${enables}")
  endforeach()
  message(STATUS "")
endfunction()
