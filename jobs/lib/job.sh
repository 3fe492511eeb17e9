# What all job scripts share: the site, the runtime, the launch, and stop-and-go-on.
# Sourced by jobs/*.slurm with the repository's root as working directory.
# shellcheck shell=bash

# Exit status of a command that saved everything and stopped on request (mdgan_hpc/errors.py).
readonly STOPPED=75

. jobs/lib/runtime.sh

# Where the ranks of PyTorch meet: the first node, and a port of this job alone.
meeting_place() {
    if [ -n "${SLURM_JOB_NODELIST:-}" ] && [ -z "${MASTER_ADDR:-}" ]; then
        MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)$site_master_suffix
    fi
    export MASTER_ADDR=${MASTER_ADDR:-127.0.0.1}
    export MASTER_PORT=${MASTER_PORT:-$((20000 + ${SLURM_JOB_ID:-$$} % 10000))}
}

# Sets `start`: the launcher and its options, to put before a command; and `stop_signal`, what it
# passes on to its ranks. $1: ranks, or "all".
load_launcher() {
    local ranks=$1 nodes=${SLURM_JOB_NUM_NODES:-1}
    [ "$ranks" = all ] && ranks=${SLURM_NTASKS:-${MDGAN_RANKS:-1}}
    [ "$ranks" -ge "$nodes" ] || nodes=$ranks
    local launcher=${MDGAN_START:-}
    stop_signal=USR2
    if [ -z "$launcher" ]; then
        if [ -n "${SLURM_JOB_ID:-}" ]; then launcher=srun
        elif [ "$ranks" -gt 1 ]; then launcher=mpiexec
        else launcher=plain; fi
    fi
    # Slurm 22.05 and later do not pass the job's --cpus-per-task on to srun by themselves.
    local cpus=${SLURM_CPUS_PER_TASK:-1}
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$cpus}
    local srun=(srun --nodes="$nodes" --kill-on-bad-exit=1 --unbuffered)
    if [ "$launcher" = srun ]; then
        choose_mpi "$ranks"
        [ "$mpi_type" != mpiexec ] || launcher=mpiexec
    fi
    case $launcher in
        srun)
            start=("${srun[@]}" "${site_srun[@]}" --ntasks="$ranks" --cpus-per-task="$cpus" --mpi="$mpi_type"
                jobs/lib/rank.sh "${inside[@]}")
            ;;
        torchrun)
            local here=$((ranks / nodes))
            start=(jobs/lib/torchrun.sh "$nodes" "$here" "${inside[@]}" --)
            if [ -n "${SLURM_JOB_ID:-}" ]; then
                # One task a node starts all its ranks: a site's binding of ranks would squeeze them.
                start=("${srun[@]}" --ntasks="$nodes" --ntasks-per-node=1 --cpu-bind=none
                    --cpus-per-task="$((cpus * here))" --mpi=none "${start[@]}")
            else
                stop_signal=TERM
            fi
            ;;
        mpiexec)
            # MPICH's mpiexec starts its helpers by srun, which must not speak MPI to them.
            export SLURM_MPI_TYPE=none
            start=(mpiexec -n "$ranks" jobs/lib/rank.sh "${inside[@]}")
            ;;
        plain)
            [ "$ranks" = 1 ] || die "MDGAN_START=plain starts 1 rank, not $ranks; use srun, torchrun or mpiexec"
            start=(jobs/lib/rank.sh "${inside[@]}")
            ;;
        *) die "MDGAN_START=$launcher is not known; use srun, torchrun, mpiexec or plain" ;;
    esac
}

# The id of this job. That of an array's last task is the array's: named in full, or all are meant.
job_id() {
    if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then echo "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
    else echo "$SLURM_JOB_ID"; fi
}

# What Slurm knows of this job under a name, as in: job_says PreemptTime
job_says() {
    scontrol show job -o "$(job_id)" 2>/dev/null | tr ' ' '\n' | sed -n "s/^$1=//p" | head -n 1
}

# Minutes until the job's time limit, less the time to save; empty outside a job with a limit.
minutes_to_go() {
    local end=${SLURM_JOB_END_TIME:-} text
    if [ -z "$end" ] && [ -n "${SLURM_JOB_ID:-}" ]; then # not set before Slurm 23
        text=$(job_says EndTime)
        [ -z "$text" ] || end=$(date -d "$text" +%s)
    fi
    [ -n "$end" ] || return 0
    local left=$(((end - $(date +%s) - MDGAN_SAVE_SECONDS) / 60))
    echo $((left > 1 ? left : 1))
}

# Runs a command on $1 ranks; a time signal, or the end of the job, is passed on to it. Returns the
# command's status, and STOPPED where it saved and stopped; sets `ended` to TERM where SIGTERM asked
# for it (scancel, preemption), not the time.
run_ranks() {
    local ranks=$1 status=0 start=() stop_signal=USR2
    shift
    ended=""
    meeting_place
    load_launcher "$ranks"
    export MDGAN_STOP_MARK="$PWD/jobs/logs/.stopped-${SLURM_JOB_ID:-$$}"
    rm -f "$MDGAN_STOP_MARK"
    echo "+ ${start[*]} $*"
    [ -z "${MDGAN_DRY_RUN:-}" ] || return 0
    [ -z "$time_is_up" ] || return "$STOPPED"
    # Until the launcher listens, a time signal must not kill it.
    (trap '' USR2 && exec "${start[@]}" "$@") &
    local child=$! asked=""
    trap 'echo "The time is nearly up: saving."; time_is_up=yes
        [ -n "$asked" ] || ask "$stop_signal" "$child" & asked=yes' USR2
    trap 'echo "The job is being ended: saving."; ended=TERM; ask "$stop_signal" "$child" &' TERM
    [ -z "$time_is_up" ] || kill -USR2 $$ # it came just now
    await "$child" || status=$?
    trap - TERM
    trap 'time_is_up=yes' USR2
    if [ -e "$MDGAN_STOP_MARK" ]; then
        # scancel signals the ranks, and not always this script.
        ! grep -q TERM "$MDGAN_STOP_MARK" || ended=TERM
        rm -f "$MDGAN_STOP_MARK"
        status=$STOPPED
    fi
    return "$status"
}

# Runs the work of a stage to the end of the job: finished, failed, or stopped and requeued. The time
# signal, the program's own wall time and preemption requeue; a job that somebody ended stays ended.
run_stage() {
    local status=0 ended=""
    run_ranks "$@" || status=$?
    [ "$status" = "$STOPPED" ] || exit "$status"
    local times=${SLURM_RESTART_COUNT:-0}
    if [ -z "${SLURM_JOB_ID:-}" ]; then
        echo "Stopped with everything saved; start again to go on."
    elif ! goes_on; then
        echo "Ended with everything saved; submit again to go on."
    elif [ "$times" -ge "$MDGAN_MAX_REQUEUE" ]; then
        echo "Stopped with everything saved, after $times requeues (MDGAN_MAX_REQUEUE); submit again to go on." >&2
    else
        echo "Stopped with everything saved; requeue $((times + 1)) of at most $MDGAN_MAX_REQUEUE."
        if scontrol requeue "$(job_id)"; then
            sleep 60 # until Slurm ends this script
        else
            echo "Requeueing was refused; submit again to go on." >&2
        fi
    fi
    exit "$STOPPED"
}

# True if a job that saved and stopped should run again.
goes_on() {
    # Of a job that is cancelled, or that it requeues itself, Slurm says no longer that it runs.
    case $(job_says JobState) in RUNNING | "") ;; *) return 1 ;; esac
    # Somebody's SIGTERM ends a job, but for preemption with a grace time: Slurm forgets to requeue a
    # job that makes use of it and ends early.
    [ "$ended" != TERM ] || [[ "$(job_says PreemptTime)" == [0-9]* ]]
}

# Ends the stage well if the output that its arguments name is there: outputs appear only whole.
finished_already() {
    local output="" previous="" word
    for word in "$@"; do
        case $word in --force) return 0 ;; --output=*) output=${word#*=} ;; esac
        case $previous in -o | --output) output=$word ;; esac
        previous=$word
    done
    if [ -n "$output" ] && [ -e "$output" ]; then
        echo "$output: finished already, nothing to do"
        exit 0
    fi
}

. jobs/lib/await.sh
# The time signal may come at any moment, also before the work has begun.
time_is_up=""
trap 'time_is_up=yes' USR2
load_site
load_runtime
