"""MSD and D of H5MD trajectories, as one table.

python docs/examples/msd_of_any_h5md.py run1.h5 run2.h5
"""

import sys

import mdgan_hpc


def main(paths: list[str]) -> None:
    """Print D of each file, and of all together as replicas."""
    for what in [[path] for path in paths] + [paths]:
        found = mdgan_hpc.diffusion(what)
        if found.total is None:
            print(f"{' '.join(what)}: {found.refused}")
            continue
        d, error = found.total.d_angstrom2_per_ps, found.total.error_angstrom2_per_ps
        print(f"{' '.join(what)}: D = {d:.3g} +- {error:.2g} Angstrom^2/ps")


if __name__ == "__main__":
    main(sys.argv[1:])
