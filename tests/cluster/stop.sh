#!/bin/bash
# Ends the test cluster of FOLDER with its jobs: stop.sh FOLDER. Daemons are ended by their pid files.
base=$1
export SLURM_CONF=$base/etc/slurm.conf
squeue -h -o %A 2>/dev/null | sort -u | xargs -r scancel --full 2>/dev/null
for _ in $(seq 30); do
    [ -n "$(squeue -h 2>/dev/null)" ] || break
    sleep 0.5
done
for file in "$base"/run/slurmd.n*.pid "$base/run/slurmctld.pid" "$base/munge/pid"; do
    [ ! -s "$file" ] || kill "$(cat "$file")" 2>/dev/null
done
for _ in $(seq 20); do
    [ -e "$base/run/slurmctld.pid" ] || break
    sleep 0.25
done
true
