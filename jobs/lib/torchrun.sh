#!/bin/bash
# torchrun.sh NODES RANKS_HERE [RUNTIME...] -- COMMAND ARGS: starts this node's ranks by torchrun.
# The nodes are numbered by Slurm, so that rank 0 is where MASTER_ADDR points to.
. jobs/lib/await.sh
nodes=$1 ranks=$2
shift 2
runtime=()
while [ "$1" != -- ]; do
    runtime+=("$1")
    shift
done
shift
# torchrun passes SIGTERM on to its ranks and waits for them; of SIGUSR2 it would die.
trap '' USR2
"${runtime[@]}" torchrun --nnodes="$nodes" --node-rank="${SLURM_NODEID:-0}" \
    --nproc-per-node="$ranks" --master-addr="$MASTER_ADDR" --master-port="$MASTER_PORT" \
    --no-python jobs/lib/rank.sh "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null' TERM
await "$child"
