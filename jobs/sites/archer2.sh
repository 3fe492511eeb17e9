# shellcheck shell=bash disable=SC2034
# ARCHER2, EPCC: 128 cores a node and no GPU, Slingshot (HPE Cray EX). Set your --account.
# Source: https://docs.archer2.ac.uk/user-guide/scheduler/ (standard partition, process placement).
site_gpu=(--partition=standard --qos=standard --gres=none --nodes=1 --ntasks-per-node=16
    --cpus-per-task=8)
site_cpu=(--partition=standard --qos=standard)
site_srun=(--hint=nomultithread --distribution=block:block)
site_container=(--bind /work)
export MDGAN_MPI=cray_shasta GLOO_SOCKET_IFNAME=hsn0
site_modules() { module load cray-python; }
