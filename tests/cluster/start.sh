#!/bin/bash
# Starts the test cluster: start.sh FOLDER [PORT], on PORT and the next four. Then
# export SLURM_CONF=FOLDER/etc/slurm.conf.
# As root, on Debian: apt-get install --no-install-recommends slurm-wlm munge
set -euo pipefail

base=$1 port=${2:-16817}
here=$(cd "$(dirname "$0")" && pwd)
host=$(hostname -s)
mkdir -p "$base"/{etc,dev,state,log,run,munge,spool/n{1..4},tmp/n{1..4}}
chmod 755 "$base"
chmod 711 "$base/munge"
chmod 1777 "$base"/tmp/n{1..4}
export SLURM_CONF=$base/etc/slurm.conf
sed -e "s#@BASE@#$base#g" -e "s#@HOST@#$host#g" -e "s#@PORT@#$port#g" -e "s#@JOB@#$RANDOM#g" \
    -e "s#@NODE_PORTS@#$((port + 1))-$((port + 4))#g" "$here/slurm.conf.in" >"$SLURM_CONF"

# GPUs that are none: Slurm counts device files.
for gpu in 0 1; do [ -c "$base/dev/gpu$gpu" ] || mknod "$base/dev/gpu$gpu" c 1 3; done
echo "NodeName=n[1-4] Name=gpu File=$base/dev/gpu[0-1]" >"$base/etc/gres.conf"

head -c 1024 /dev/urandom >"$base/munge/key"
chmod 400 "$base/munge/key"
munged --key-file="$base/munge/key" --socket="$base/munge/socket" --pid-file="$base/munge/pid" \
    --log-file="$base/munge/log" --seed-file="$base/munge/seed" --num-threads=2

slurmctld
# Every node knows all names, has its own, and its own shared memory.
{
    echo "127.0.0.1 localhost $host"
    for node in 1 2 3 4; do echo "127.0.0.1 n$node"; done
} >"$base/etc/hosts"
for node in 1 2 3 4; do
    unshare --mount --uts bash -c "hostname n$node && mount --bind '$base/etc/hosts' /etc/hosts &&
        mount -t tmpfs tmpfs /dev/shm && exec slurmd -N n$node"
done
for _ in $(seq 40); do
    if [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = 4 ]; then exit 0; fi
    sleep 0.5
done
echo "the test cluster did not come up; see $base/log" >&2
sinfo >&2 || true
exit 1
