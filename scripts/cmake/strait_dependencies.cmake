# Finds what the project stands on. Required: MPI, a CBLAS, nlohmann/json, spdlog, OpenMP.
# Optional parts are noted in STRAIT_SUMMARY and printed once at the end.
set(STRAIT_SUMMARY "")

function(strait_note what found enables)
  set(STRAIT_SUMMARY "${STRAIT_SUMMARY};${what}|${found}|${enables}" PARENT_SCOPE)
endfunction()

find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(spdlog REQUIRED)
find_path(STRAIT_CBLAS_INCLUDE cblas.h PATH_SUFFIXES openblas x86_64-linux-gnu
          x86_64-linux-gnu/openblas-openmp openblas-openmp REQUIRED)
find_library(STRAIT_CBLAS_LIBRARY NAMES openblas blas
             PATH_SUFFIXES openblas-openmp x86_64-linux-gnu/openblas-openmp REQUIRED)

strait_note("OpenMP" "${OpenMP_CXX_VERSION}" "threads in CPU kernels")
strait_note("MPI" "${MPI_CXX_VERSION}" "ranks")
strait_note("CBLAS" "${STRAIT_CBLAS_LIBRARY}" "matrix products on the CPU")
strait_note("nlohmann/json" "${nlohmann_json_VERSION}" "configs, checkpoints")
strait_note("spdlog" "${spdlog_VERSION}" "logging")
