# Where the commands run and what their MPI speaks: for the jobs, and for pipeline.sh before it submits.
# Sourced with the repository's root as working directory.
# shellcheck shell=bash

die() {
    echo "Error: $1" >&2
    exit 2
}

# The defaults, then the site's own file on top.
load_site() {
    # shellcheck source=jobs/sites/default.sh
    . jobs/sites/default.sh
    local file=jobs/sites/${MDGAN_SITE:-default}.sh
    if [ ! -f "$file" ]; then
        local known
        known=$(cd jobs/sites && echo *.sh)
        die "MDGAN_SITE=$MDGAN_SITE: no file $file; known: ${known//.sh/}"
    fi
    # shellcheck disable=SC1090  # the user's choice
    . "$file"
}

# Sets `inside`: what to put before a command so that it runs in the image or environment.
load_runtime() {
    inside=()
    if [ -z "${MDGAN_RUNTIME:-}" ]; then
        if [ -n "${MDGAN_IMAGE:-}" ]; then MDGAN_RUNTIME=apptainer; else MDGAN_RUNTIME=venv; fi
    fi
    case $MDGAN_RUNTIME in
        apptainer)
            local program
            program=$(command -v apptainer || command -v singularity) ||
                die "MDGAN_RUNTIME=apptainer: neither apptainer nor singularity is found; load its module in the site file"
            [ -e "${MDGAN_IMAGE:-}" ] ||
                die "MDGAN_IMAGE='${MDGAN_IMAGE:-}' is no image; build one (docs/how-to/cluster.md) and export MDGAN_IMAGE"
            mkdir -p "$MDGAN_WORK" || die "cannot make $MDGAN_WORK; set MDGAN_WORK"
            inside=("$program" exec --bind "$PWD" --bind "$(cd "$MDGAN_WORK" && pwd)"
                "${site_container[@]}" "$MDGAN_IMAGE")
            ;;
        venv)
            local folder=${MDGAN_VENV:-.venv}
            [ -x "$folder/bin/python" ] ||
                die "no Python environment in $folder; make one (make venv), set MDGAN_VENV, or export MDGAN_IMAGE"
            PATH=$(cd "$folder" && pwd)/bin:$PATH
            ;;
        module)
            site_modules
            command -v mdgan-train >/dev/null ||
                die "MDGAN_RUNTIME=module: mdgan-train is not found after site_modules of jobs/sites/${MDGAN_SITE:-default}.sh"
            ;;
        *) die "MDGAN_RUNTIME=$MDGAN_RUNTIME is not known; use apptainer, venv or module" ;;
    esac
}

# Sets `mpi_type`: what srun must speak so that $1 ranks of this environment find each other, or
# mpiexec where srun offers nothing that fits (srun --mpi=list). Ends with an error where MDGAN_MPI
# cannot work.
choose_mpi() {
    local mpi=none offered choices
    mpi_type=$MDGAN_MPI
    case $MDGAN_MPI in auto | pmix) ;; *) return 0 ;; esac
    if [ "$1" = 1 ]; then
        [ "$MDGAN_MPI" != auto ] || mpi_type=none
        return 0
    fi
    mpi=$("${inside[@]}" python jobs/lib/which_mpi.py 2>/dev/null) || mpi=none
    if [ "$MDGAN_MPI" = pmix ]; then
        [ "$mpi" != mpich-wheel ] ||
            die "MDGAN_MPI=pmix, but the environment holds MPICH's wheel, which speaks PMI2; unset MDGAN_MPI, or remove the wheel (docs/how-to/cluster.md)"
        return 0
    fi
    case $mpi in
        "" | none) mpi_type=pmix; return 0 ;; # MPI is not used, or its own error will tell
        openmpi | other) choices=(pmix) ;;
        cray) choices=(cray_shasta pmi2) ;;
        *) choices=(pmi2 cray_shasta) ;;
    esac
    offered=" $(srun --mpi=list 2>&1 | tr -s '[:space:]' ' ') "
    for mpi_type in "${choices[@]}" mpiexec; do
        [[ "$offered" != *" $mpi_type "* ]] || break
    done
    local how="srun --mpi=$mpi_type"
    [ "$mpi_type" != mpiexec ] || how="its own mpiexec"
    echo "The MPI of this environment is $mpi: ranks are started by $how." >&2
}
