"""Is the framework a crystal? One answer, from its averaged positions.

Training moves its windows by the operations found here, and the analysis finds sites on the
lattice found here.
"""

from mdgan_hpc.crystal.alignment import Alignment, align_frameworks, framework_shift
from mdgan_hpc.crystal.definitions import (
    LATTICE_RMS,
    AveragedFramework,
    Crystal,
    NoCrystal,
    Symmetry,
    isotropic,
    stays_in_place,
)
from mdgan_hpc.crystal.search import find_crystal

__all__ = [
    "LATTICE_RMS",
    "Alignment",
    "AveragedFramework",
    "Crystal",
    "NoCrystal",
    "Symmetry",
    "align_frameworks",
    "find_crystal",
    "framework_shift",
    "isotropic",
    "stays_in_place",
]
