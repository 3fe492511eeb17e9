# shellcheck shell=bash disable=SC2034
# JUWELS Booster, Jülich: 4 NVIDIA A100 and 48 cores a node, InfiniBand.
# Source: https://apps.fz-juelich.de/jsc/hps/juwels/ (batch system, GPU computing). Set your --account.
# Its Slurm puts each rank near its GPU (NUMA domains 3, 1, 5, 7) unless told otherwise:
# https://co-design.pop-coe.eu/experiments/gpu-affinity/juwels-booster.html.
site_gpu=(--partition=booster --nodes=1 --ntasks-per-node=4 --gres=gpu:4 --cpus-per-task=12)
site_cpu=(--partition=booster --gres=gpu:1)
site_srun=()
site_container=(--nv --bind /p)
site_master_suffix=i # the node's InfiniBand name
export MDGAN_MPI=pspmix NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0
site_modules() { module load Stages/2025 GCC OpenMPI Python h5py mpi4py PyTorch; }
