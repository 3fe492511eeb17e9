"""What a crystal and its symmetry are, and all tolerances."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

#: An atom of a crystal stays within this root mean square distance of its site (Lindemann: a tenth
#: to a fifth of a bond length of 2 to 3 Angstrom). An atom beyond it is loose. Angstrom.
LATTICE_RMS = 0.8
#: Tolerances at which groups are looked for, Angstrom; of equal groups the first is taken.
TOLERANCES = (0.1, 0.05, 0.2, 0.35, 0.5)
#: Noise of an averaged coordinate: what is below the least is never taken for a distortion; above
#: the largest nothing can be said. Angstrom.
LEAST_NOISE, LARGEST_NOISE = 0.02, 0.1
#: A group that leaves this many times the noise of another one is false.
NOISE_RATIO = 2.0
#: Cells of runs of one crystal differ by at most this share (means of NPT runs) ...
CELL_SPREAD = 0.005
#: ... at different temperatures also by thermal expansion ...
EXPANSION = 0.03
#: ... and are the same cell within this distance, Angstrom.
SAME_CELL = 1e-3


class AveragedFramework(Protocol):
    """What a trajectory file tells of the atoms that stay in place."""

    @property
    def species(self) -> np.ndarray: ...  # [M]

    @property
    def position(self) -> np.ndarray: ...  # [M, 3] Angstrom

    @property
    def rms_displacement(self) -> np.ndarray: ...  # [M] Angstrom


def stays_in_place(framework: AveragedFramework | None) -> bool:
    """Whether half of the other atoms or more stay in place: in a crystal or a glass."""
    if framework is None or not len(framework.species):
        return False
    return bool(np.median(framework.rms_displacement) <= LATTICE_RMS)


@dataclass(frozen=True)
class Symmetry:
    """Operations x -> R x + t under which the motion of the ions looks the same.

    Attributes
    ----------
    rotations : array, [n, 3, 3]
        A finite group, Cartesian; one operation for each point operation.
    translations : array, [n, 3]
        Angstrom.
    primitive : array, [3, 3] or None
        Primitive cell (rows), or None where there is no lattice.
    isotropic : bool
        Any rotation is allowed too.
    time_reversal : bool
        A window read backwards is as good (equilibrium).
    name : str
        For the record.
    """

    rotations: np.ndarray = field(default_factory=lambda: np.eye(3)[None])
    translations: np.ndarray = field(default_factory=lambda: np.zeros((1, 3)))
    primitive: np.ndarray | None = None
    isotropic: bool = False
    time_reversal: bool = False
    name: str = "none"

    def built_in(self) -> tuple[np.ndarray, np.ndarray]:
        """Return rotations and translations of the subgroup that a network should carry exactly.

        Identity and inversion where there is one: the mean displacement is then zero by
        construction, and the network keeps more free weights than under the whole group, which it
        learns from moved windows. Without an inversion, the whole group.
        """
        distance = np.abs(self.rotations + np.eye(3)).max((1, 2))
        if distance.min() > 1e-6:
            return self.rotations, self.translations
        chosen = [int(np.abs(self.rotations - np.eye(3)).max((1, 2)).argmin()), distance.argmin()]
        return self.rotations[chosen], self.translations[chosen]


def isotropic() -> Symmetry:
    """Return the symmetry of a liquid or a glass: inversion, and any rotation of the windows."""
    rotations = np.array([np.eye(3), -np.eye(3)])
    return Symmetry(
        rotations, np.zeros((2, 3)), isotropic=True, time_reversal=True, name="isotropic"
    )


@dataclass(frozen=True, kw_only=True)
class Crystal:
    """The lattice of an averaged framework, in the orientation and origin of the input.

    Attributes
    ----------
    cell : array, [3, 3]
        Cell of the simulation (rows), Angstrom.
    species : array, [M]
        Atomic numbers.
    positions : array, [M, 3]
        Mean positions, Angstrom.
    primitive : array, [3, 3]
        Primitive cell: its shortest vectors (rows), Angstrom.
    rotations : array, [n, 3, 3]
        Cartesian; one operation x -> R x + t for each point operation.
    translations : array, [n, 3]
        Angstrom.
    rms : float
        Median root mean square displacement of the atoms from their mean positions, Angstrom.
    noise : float
        What the symmetry leaves of an averaged coordinate, Angstrom.
    space_group : str
        International symbol.
    """

    cell: np.ndarray
    species: np.ndarray
    positions: np.ndarray
    primitive: np.ndarray
    rotations: np.ndarray
    translations: np.ndarray
    rms: float
    noise: float
    space_group: str

    def __str__(self) -> str:
        copies = round(abs(np.linalg.det(self.cell) / np.linalg.det(self.primitive)))
        return (
            f"crystal {self.space_group}, {len(self.rotations)} point operations, "
            f"{copies} primitive cells"
        )

    def symmetry(self) -> Symmetry:
        """Return the operations by which windows of an equilibrium trajectory may be moved."""
        return Symmetry(
            self.rotations,
            self.translations,
            self.primitive,
            time_reversal=True,
            name=self.space_group,
        )


@dataclass(frozen=True)
class NoCrystal:
    """There is no crystal; `reason` completes the sentence "not a crystal: ..."."""

    reason: str

    def __str__(self) -> str:
        return f"not a crystal: {self.reason}"
