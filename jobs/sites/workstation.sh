# shellcheck shell=bash disable=SC2034
# One machine without Slurm: bash jobs/train.slurm ..., or jobs/pipeline.sh, which runs the stages
# one after the other. MDGAN_RANKS: processes of a stage (one a GPU, or one for a few cores).
# Source: the manual of mpiexec and of torchrun (https://docs.pytorch.org/docs/stable/elastic/run.html).
site_container=()
if command -v nvidia-smi >/dev/null; then site_container=(--nv); fi
if command -v rocm-smi >/dev/null; then site_container=(--rocm); fi
: "${MDGAN_RANKS:=1}"
