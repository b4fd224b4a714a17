# strait_module(NAME dir DEPS a b ...): one static library per folder, linked to what its row of
# the include table allows and to nothing else. Sources are every .cc directly in the folder and in
# the named SUBDIRS.
add_library(strait_options INTERFACE)
target_include_directories(strait_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)

# strait_flags(LANGUAGE flag...): flags of one language for everything.
function(strait_flags language)
  target_compile_options(strait_options INTERFACE "$<$<COMPILE_LANGUAGE:${language}>:${ARGN}>")
endfunction()

# Sets STRAIT_NATIVE_FLAGS: what tunes for this machine without wrong code. GCC 12.2 stores the
# constant {4, 4, 4, 0} as {4, 4, 4, 4} where it moves 32 bytes at once.
function(strait_find_native_flags)
  include(CheckCXXSourceRuns)
  foreach(moves "" " -mmove-max=128 -mstore-max=128")
    set(CMAKE_REQUIRED_FLAGS "-O2 -march=native${moves}")
    string(MAKE_C_IDENTIFIER "STRAIT_RIGHT_WITH_native${moves}" right)
    check_cxx_source_runs("
      #include <cstring>
      __attribute__((noipa)) void fill(double* to) {
        const double four[] = {4, 4, 4, 0};
        std::memcpy(to, four, sizeof four);
      }
      int main() {
        double got[4];
        fill(got);
        return got[3] != 0;
      }" ${right})
    if(${right})
      separate_arguments(flags UNIX_COMMAND "-march=native${moves}")
      set(STRAIT_NATIVE_FLAGS ${flags} PARENT_SCOPE)
      return()
    endif()
  endforeach()
  message(WARNING "this compiler makes wrong code with -march=native: built without it")
  set(STRAIT_NATIVE_FLAGS "" PARENT_SCOPE)
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
  strait_find_native_flags()
  strait_flags(CXX ${STRAIT_NATIVE_FLAGS})
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
