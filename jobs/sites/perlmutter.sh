# shellcheck shell=bash disable=SC2034
# Perlmutter, NERSC: 4 NVIDIA A100 and 64 cores a node, Slingshot (HPE Cray EX).
# Source: https://docs.nersc.gov/jobs/examples/ and https://docs.nersc.gov/machinelearning/pytorch/;
# GPU 3 is nearest to cores 0-15 and GPU 0 to 48-63: https://github.com/BLAST-WarpX/warpx/pull/5683.
site_gpu=(--constraint=gpu --qos=regular --nodes=1 --ntasks-per-node=4 --gres=gpu:4
    --cpus-per-task=32)
site_cpu=(--constraint=cpu --qos=regular)
site_srun=("--cpu-bind=map_ldom:3,2,1,0" --gpu-bind=none) # all GPUs visible: NCCL copies between them
site_container=(--nv --bind /pscratch)
export MDGAN_MPI=cray_shasta FI_CXI_DISABLE_HOST_REGISTER=1 NCCL_SOCKET_IFNAME=hsn GLOO_SOCKET_IFNAME=hsn0
site_modules() { module load pytorch; }
