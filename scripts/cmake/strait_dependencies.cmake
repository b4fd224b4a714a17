# Finds what the project stands on. Required: OpenMP, MPI, a CBLAS, nlohmann/json, spdlog.
# Every row noted in STRAIT_SUMMARY is printed once at the end of the configuration.
set(STRAIT_SUMMARY "")

function(strait_note what found enables)
  set(STRAIT_SUMMARY "${STRAIT_SUMMARY};${what}|${found}|${enables}" PARENT_SCOPE)
endfunction()

# strait_require(variable what package): stops with advice when `variable` is false.
function(strait_require variable what package)
  if(NOT ${variable})
    message(FATAL_ERROR "${what} is missing. On Debian and Ubuntu scripts/install_deps.sh installs "
                        "it (package ${package}); elsewhere set CMAKE_PREFIX_PATH to where it is.")
  endif()
endfunction()

find_package(Threads REQUIRED)
find_package(OpenMP COMPONENTS CXX)
strait_require(OpenMP_CXX_FOUND "OpenMP" build-essential)

# The C API alone; the C++ bindings were removed from the standard.
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI COMPONENTS CXX)
strait_require(MPI_CXX_FOUND "MPI" libopenmpi-dev)

find_package(nlohmann_json 3.10 QUIET)
strait_require(nlohmann_json_FOUND "nlohmann/json 3.10 or newer" nlohmann-json3-dev)
find_package(spdlog QUIET)
strait_require(spdlog_FOUND "spdlog" libspdlog-dev)

# The OpenMP build of OpenBLAS comes first: it shares its threads with the loops around it.
find_path(STRAIT_CBLAS_INCLUDE cblas.h
          PATH_SUFFIXES ${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp openblas-openmp openblas
                        ${CMAKE_LIBRARY_ARCHITECTURE})
find_library(STRAIT_CBLAS_LIBRARY NAMES openblas blas
             PATH_SUFFIXES ${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp openblas-openmp)
strait_require(STRAIT_CBLAS_INCLUDE "cblas.h" libopenblas-openmp-dev)
strait_require(STRAIT_CBLAS_LIBRARY "A CBLAS library" libopenblas-openmp-dev)

find_path(STRAIT_XXHASH_INCLUDE xxhash.h)
strait_require(STRAIT_XXHASH_INCLUDE "xxHash" libxxhash-dev)
find_package(LibLZMA)
find_path(STRAIT_ZSTD_INCLUDE zstd.h)
find_library(STRAIT_ZSTD_LIBRARY zstd)
# Programs load SentencePiece when they start: without it they run where it is not installed.
option(STRAIT_SENTENCEPIECE "Use SentencePiece if it is installed" ON)
find_path(STRAIT_SENTENCEPIECE_INCLUDE sentencepiece_processor.h)
find_library(STRAIT_SENTENCEPIECE_LIBRARY sentencepiece)
find_library(STRAIT_SENTENCEPIECE_TRAIN_LIBRARY sentencepiece_train)

find_program(STRAIT_CCACHE ccache)
if(STRAIT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${STRAIT_CCACHE})
endif()

strait_note("OpenMP" "${OpenMP_CXX_VERSION}" "threads in CPU kernels")
strait_note("MPI" "${MPI_CXX_VERSION}" "ranks")
strait_note("CBLAS" "${STRAIT_CBLAS_LIBRARY}" "matrix products on the CPU")
strait_note("nlohmann/json" "${nlohmann_json_VERSION}" "configs, checkpoints")
strait_note("spdlog" "${spdlog_VERSION}" "logging")
strait_note("xxHash" "${STRAIT_XXHASH_INCLUDE}" "fingerprints, hashes of checkpoints")
if(LIBLZMA_FOUND)
  strait_note("liblzma" "${LIBLZMA_VERSION_STRING}" ".xz text for ./tokenize")
else()
  strait_note("liblzma" "not found" "no .xz text for ./tokenize")
endif()
if(STRAIT_ZSTD_LIBRARY AND STRAIT_ZSTD_INCLUDE)
  set(STRAIT_ZSTD ON)
  strait_note("zstd" "${STRAIT_ZSTD_LIBRARY}" ".zst text for ./tokenize")
else()
  strait_note("zstd" "not found" "no .zst text for ./tokenize")
endif()
if(STRAIT_SENTENCEPIECE AND STRAIT_SENTENCEPIECE_LIBRARY AND STRAIT_SENTENCEPIECE_TRAIN_LIBRARY)
  set(STRAIT_USES_SENTENCEPIECE ON)
  strait_note("SentencePiece" "${STRAIT_SENTENCEPIECE_LIBRARY}" "its tokenizer models")
else()
  strait_note("SentencePiece" "not used" "no tokenizer from a .model file")
endif()
if(STRAIT_CCACHE)
  strait_note("ccache" "${STRAIT_CCACHE}" "faster rebuilds")
else()
  strait_note("ccache" "not found" "rebuilds compile everything again")
endif()
