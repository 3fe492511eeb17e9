# shellcheck shell=bash disable=SC2034  # read by jobs/lib/job.sh and jobs/pipeline.sh
# What every site starts from; a site file changes what is different there (docs/how-to/cluster.md).

# Options of sbatch: for the stages that use GPUs (train, generate), and for those that do not.
site_gpu=()
site_cpu=()
# Options of srun, such as a binding of cores. One rank a GPU, each on neighbouring cores.
site_srun=(--cpu-bind=cores)
# Options of "apptainer exec": --nv (NVIDIA) or --rocm (AMD), and folders to bind.
site_container=()
# Appended to the first node's name where its fast network has a name of its own.
site_master_suffix=""
# What srun speaks with the ranks: pmix, pmi2, cray_shasta (srun --mpi=list shows it); auto: what the
# MPI of the environment speaks, or its own mpiexec where srun offers nothing that fits.
: "${MDGAN_MPI:=auto}"
# Loads the modules of MDGAN_RUNTIME=module.
site_modules() { :; }

# Seconds needed to save before the time limit, and how often a job may requeue itself.
: "${MDGAN_SAVE_SECONDS:=300}" "${MDGAN_MAX_REQUEUE:=20}"
# Folder of all outputs: md/*.h5, train/, generated.h5, msd.json, report/.
: "${MDGAN_WORK:=work}"
export MDGAN_MPI MDGAN_SAVE_SECONDS MDGAN_MAX_REQUEUE MDGAN_WORK
