#!/bin/bash
# Submits the whole chain, each stage after the one before ended well, and prints the job ids:
# convert -> train -> generate -> msd -> report. Without Slurm the stages run here, one by one.
#
#   jobs/pipeline.sh [--dry-run] [--from STAGE] RUN_DIR...
#
#   --dry-run      print the commands, submit nothing
#   --from STAGE   begin at train, generate, msd or report; what comes before is done
#
# Settings come from the environment and reach every stage: MDGAN_SITE, MDGAN_RUNTIME, MDGAN_IMAGE,
# MDGAN_WORK (outputs), MDGAN_CONVERT (options of mdgan-convert, as in "--select Li --drift all"),
# MDGAN_CONFIG, MDGAN_PARTICLES, MDGAN_RECORDS, MDGAN_SEED. SBATCH_ACCOUNT and the like are sbatch's
# own.
set -euo pipefail
cd "$(dirname "$0")/.."

stages=(convert train generate msd report)
dry_run="" first=convert runs=()
fail() {
    echo "Error: $1" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry_run=yes ;;
        --from)
            first=${2:-}
            shift
            ;;
        -h | --help)
            sed -n '2,/^set/s/^# \{0,1\}//p' jobs/pipeline.sh
            exit 0
            ;;
        -*) fail "unknown option $1; see jobs/pipeline.sh --help" ;;
        *) runs+=("$1") ;;
    esac
    shift
done
[[ " ${stages[*]} " == *" $first "* ]] || fail "--from $first is no stage; use ${stages[*]}"
if [ "$first" = convert ]; then
    [ ${#runs[@]} -gt 0 ] || fail "no run folder; see jobs/pipeline.sh --help"
    for run in "${runs[@]}"; do
        [ -e "$run" ] || fail "$run: no such run folder"
    done
    twice=$(for run in "${runs[@]}"; do basename "$(realpath "$run")"; done | sort | uniq -d | head -n 1)
    [ -z "$twice" ] || fail "two run folders are called $twice and would become one file; convert them one by one with -o"
fi

# shellcheck source=jobs/lib/runtime.sh
. jobs/lib/runtime.sh
load_site
slurm=""
if command -v sbatch >/dev/null && [ "${MDGAN_SITE:-}" != workstation ]; then slurm=yes; fi
# What would end a stage after hours is found here, before anything is submitted.
if [ -z "$dry_run" ]; then
    load_runtime
    if [ -n "$slurm" ]; then choose_mpi 4; fi
fi

wanted=()
for stage in "${stages[@]}"; do
    [ "$stage" != "$first" ] || first=""
    [ -n "$first" ] || wanted+=("$stage")
done

# Sets `script` and `options` of a stage.
describe() {
    script=(jobs/"$1".slurm)
    [ "$1" != convert ] || script+=("${runs[@]}")
    case $1 in
        train | generate) options=("${site_gpu[@]}") ;;
        *) options=("${site_cpu[@]}") ;;
    esac
}

# A time limit or a partition that Slurm refuses for a later stage is found before the first one is
# submitted.
if [ -n "$slurm" ] && [ -z "$dry_run" ]; then
    for stage in "${wanted[@]}"; do
        describe "$stage"
        refused=$(sbatch --test-only "${options[@]}" "${script[@]}" 2>&1) ||
            fail "Slurm would refuse $stage: ${refused##*error: }; nothing is submitted"
    done
fi

previous=""
for stage in "${wanted[@]}"; do
    describe "$stage"
    if [ -n "$slurm" ]; then
        # A stage whose forerunner failed is taken out of the queue instead of waiting for ever.
        [ -z "$previous" ] ||
            options+=(--dependency="afterok:$previous" --kill-on-invalid-dep=yes)
        command=(sbatch --parsable "${options[@]}" "${script[@]}")
    else
        command=(bash "${script[@]}")
    fi
    if [ -n "$dry_run" ]; then
        echo "${command[*]}"
        previous="<id of $stage>"
    elif [ "${command[0]}" = sbatch ]; then
        previous=$("${command[@]}" | cut -d';' -f1)
        echo "$stage $previous"
    else
        "${command[@]}" || fail "$stage ended with status $?; the stages after it did not run"
    fi
done
