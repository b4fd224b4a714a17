# shellcheck shell=bash
# Sourced by the scripts that start mpirun: makes Open MPI 4 run anywhere a user would start it.

# Open MPI refuses to start as root (containers) unless both of these are set.
if [[ $(id -u) -eq 0 ]]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# More ranks than cores are fine: tests run four ranks on two cores.
export OMPI_MCA_rmaps_base_oversubscribe=1
# By default each of two ranks is bound to one core, which would leave a large machine idle.
export OMPI_MCA_hwloc_base_binding_policy=none
# Containers often forbid process_vm_readv; without this every message prints a warning first.
export OMPI_MCA_btl_vader_single_copy_mechanism=none

# Cores this process may use; nproc by itself would answer with OMP_NUM_THREADS where that is set.
core_count() { env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; }

# Gives each of $1 ranks its share of the cores this process may use.
share_cores_among() {
  local threads=$(($(core_count) / $1))
  export OMP_NUM_THREADS=$((threads > 0 ? threads : 1))
}
