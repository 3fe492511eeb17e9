# shellcheck shell=bash disable=SC2034
# LUMI-G, CSC: 8 AMD MI250X dies and 56 usable cores a node, Slingshot. Set your --account.
# Source: https://docs.lumi-supercomputer.eu/runjobs/scheduled-jobs/distribution-binding/: die 0 is
# nearest to cores 49-55, die 1 to 57-63 and so on; the masks bind each local rank to its die's cores.
site_gpu=(--partition=standard-g --nodes=1 --ntasks-per-node=8 --gres=gpu:8)
site_cpu=(--partition=small)
masks=0xfe000000000000,0xfe00000000000000,0xfe0000,0xfe000000,0xfe,0xfe00,0xfe00000000,0xfe0000000000
case ${SLURM_JOB_PARTITION:-} in *-g) site_srun=(--cpu-bind="mask_cpu:$masks" --gpu-bind=none) ;; esac
site_container=(--rocm --bind "/scratch,/project,/flash")
export MDGAN_MPI=cray_shasta NCCL_NET_GDR_LEVEL=PHB
export NCCL_SOCKET_IFNAME=hsn0,hsn1,hsn2,hsn3 GLOO_SOCKET_IFNAME=hsn0
site_modules() { module load LUMI/24.03 partition/G cray-python; }
