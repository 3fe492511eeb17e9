"""How far generated ions are from MD, observable by observable.

python docs/examples/compare_two_trajectories.py generated.h5 run1.h5 run2.h5 run3.h5
"""

import sys

import mdgan_hpc


def main(generated: str, *md: str) -> None:
    """Print the ratio of each observable: 1 is as far as another MD run."""
    found = mdgan_hpc.Fidelity(list(md)).compare(generated)
    for name, ratio in found.ratios.items():
        print(f"{name:24s} {ratio:.2f}")
    print(f"{'median':24s} {found.median:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
