"""The worlds: what LAMMPS is told to simulate in each (units metal: eV, Angstrom, ps, g/mol).

Force fields are simple on purpose: a world is there to move in its own way, not to be that material
to the last percent. Sources stand beside the numbers; where there is none, the world is made up.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Atoms of a type at places in Angstrom.
Atoms = list[tuple[int, np.ndarray]]


@dataclass(frozen=True)
class World:
    """One system, its mobile ions and how long it is watched.

    Attributes
    ----------
    name, title : str
    looked_at : bool
        While the program was worked on; the others are looked at for the table alone.
    species : tuple of str
        Elements of the types 1, 2, ..., as labels.
    mobile : str
        The one that is learned.
    temperature_k : float
    force_field : str
        Commands after the atoms are there.
    build : callable
        Of random numbers: the atoms and the box [3], Angstrom.
    step_fs, frame_fs : float
        Of the simulation, and between two frames.
    short_ps, long_ps : float
        Length of each of the three runs that are learned from, and of the run that tells the truth.
    pressure : bool
        Whether the volume is that of no pressure, found by a run of 10 ps.
    prepare : str
        Commands before the runs, such as a melt and its quench.
    media : int
        1: all runs are of one system; 3: each is of a system prepared anew, and so is the truth.
    """

    name: str
    title: str
    looked_at: bool
    species: tuple[str, ...]
    mobile: str
    temperature_k: float
    force_field: str
    build: Callable[[np.random.Generator], tuple[Atoms, np.ndarray]]
    step_fs: float = 1.0
    frame_fs: float = 4.0
    short_ps: float = 40.0
    long_ps: float = 200.0
    pressure: bool = False
    prepare: str = ""
    media: int = 1


def _repeated(
    basis: dict[int, list[list[float]]], cell: list[float], counts: list[int]
) -> tuple[Atoms, np.ndarray]:
    """Return an orthogonal cell with atoms at fractions of it, repeated."""
    shifts = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(-1, 3)
    atoms = [
        (kind, (np.array(place) + shift) * cell)
        for kind, places in basis.items()
        for place in places
        for shift in shifts
    ]
    return atoms, np.array(cell) * counts


def _without(atoms: Atoms, kind: int, count: int, random: np.random.Generator) -> Atoms:
    """Return the atoms less some of a kind, drawn by chance."""
    those = [i for i, (k, _) in enumerate(atoms) if k == kind]
    gone = set(random.choice(those, count, replace=False).tolist())
    return [atom for i, atom in enumerate(atoms) if i not in gone]


def _apart(
    counts: list[int], edge: float, least: float, random: np.random.Generator
) -> tuple[Atoms, np.ndarray]:
    """Return atoms at random places of a cube, none closer than `least` to another."""
    places: list[np.ndarray] = []
    while len(places) < sum(counts):
        new = random.random(3) * edge
        if all(np.linalg.norm((new - p + edge / 2) % edge - edge / 2) > least for p in places):
            places.append(new)
    kinds = [kind for kind, count in enumerate(counts, 1) for _ in range(count)]
    return list(zip(kinds, places, strict=True)), np.full(3, edge)


# Fluorite and antifluorite ------------------------------------------------------------------------

_FOUR = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
_EIGHT = [[x, y, z] for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.25, 0.75)]
# Bingham, Cormack, Catlow, Solid State Ionics 35, 199 (1989), charges of whole ions.
_CAF2 = """
set type 1 charge -1
set type 2 charge 2
pair_style buck/coul/long 5.6
pair_coeff * * 0 1 0
pair_coeff 1 2 1272.8 0.2997 0
pair_coeff 1 1 1127.7 0.2753 15.83
kspace_style ewald 1e-4
"""


def _caf2(random: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    return _repeated({1: _EIGHT, 2: _FOUR}, [5.72] * 3, [2, 2, 2])


# Oxygen as in Catlow, Proc. R. Soc. A 353, 533 (1977); the charge of oxygen makes up for the
# missing lithium, so that its lattice stays whole.
_LI2O = """
set type 1 charge 1
set type 2 charge -1.875
pair_style buck/coul/long 6.0
pair_coeff * * 0 1 0
pair_coeff 1 2 292.3 0.3472 0
pair_coeff 2 2 22764.3 0.149 27.89
kspace_style ewald 1e-4
"""


def _li2o(random: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    atoms, box = _repeated({1: _EIGHT, 2: _FOUR}, [4.75] * 3, [2, 2, 2])
    return _without(atoms, 1, 4, random), box


# A melt and a glass -------------------------------------------------------------------------------

# Fumi and Tosi, J. Phys. Chem. Solids 25, 31 and 45 (1964).
_NACL = """
set type 1 charge 1
set type 2 charge -1
pair_style born/coul/long 7.0
pair_coeff 1 1 0.2637 0.317 2.340 1.0486 -0.4993
pair_coeff 1 2 0.2110 0.317 2.755 6.9900 -8.6758
pair_coeff 2 2 0.1582 0.317 3.170 72.4022 -145.4285
kspace_style ewald 1e-4
"""


def _nacl(random: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    other = [[(x + 0.5) % 1, y, z] for x, y, z in _FOUR]
    return _repeated({1: _FOUR, 2: other}, [6.6] * 3, [2, 2, 2])


# Pedone et al., J. Phys. Chem. B 110, 11780 (2006): Morse, and C / r^12 that keeps atoms apart.
_PEDONE = {
    (1, 3): (0.001114, 3.429506, 2.681360, 1.0),
    (2, 3): (0.340554, 2.006700, 2.100000, 1.0),
    (3, 3): (0.042395, 1.379316, 3.618701, 22.0),
}


def _silicate_field() -> str:
    lines = [
        "set type 1 charge 0.6",
        "set type 2 charge 2.4",
        "set type 3 charge -1.2",
        "pair_style hybrid/overlay coul/long 6.0 morse 5.5 mie/cut 5.5",
        "pair_coeff * * coul/long",
    ]
    for (i, j), (depth, alpha, r0, repulsion) in _PEDONE.items():
        lines.append(f"pair_coeff {i} {j} morse {depth} {alpha} {r0}")
        # Mie with exponents 12 and 0.001 is nearly the repulsion alone; its prefactor is
        # n / (n - m) (n / m)^(m / (n - m)).
        n, m = 12.0, 0.001
        prefactor = n / (n - m) * (n / m) ** (m / (n - m))
        sigma = (repulsion / prefactor / 1e-6) ** (1 / n)
        lines.append(f"pair_coeff {i} {j} mie/cut 1e-6 {sigma:.6f} {n} {m}")
    return "\n".join([*lines, "kspace_style ewald 1e-4", ""])


def _silicate(random: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    return _apart([24, 24, 60], 10.85, 1.45, random)


_QUENCH = """
velocity all create 4000 {seed}
fix quench all nvt temp 4000 4000 0.1
run 10000
unfix quench
fix quench all nvt temp 4000 {temperature} 0.1
run 40000
unfix quench
"""

# Motion along planes and along lines --------------------------------------------------------------

# Made up: a framework tied to its places; a Morse well between ion and anion that makes octahedral
# sites; ions repel each other, screened.
_TIED = """
group tied type {tied}
fix tie tied spring/self 4.0
neigh_modify exclude group tied tied
"""
_LAYERS = """
pair_style hybrid/overlay morse 5.5 yukawa 0.4 8.0
pair_coeff 1 1 yukawa 4.0
pair_coeff 1 2 morse 0.10 1.2 2.5
pair_coeff 1 3 morse 0.02 1.2 3.4
pair_coeff 2 2 none
pair_coeff 2 3 none
pair_coeff 3 3 none
""" + _TIED.format(tied="2 3")


def _layers(random: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    """TiS2 (1T) in an orthogonal cell, every second octahedron between its layers filled."""
    a, c = 3.4, 6.2
    thirds = {1: (0.0, 0.0, 0.5), 3: (0.0, 0.0, 0.0)}
    sulphur = [(0.0, 1 / 3, 0.25), (0.5, 1 / 6, 0.75)]
    basis = {kind: [[x, y, z], [(x + 0.5) % 1, y + 0.5, z]] for kind, (x, y, z) in thirds.items()}
    basis[2] = [[(x + s) % 1, (y + s) % 1, z] for x, y, z in sulphur for s in (0.0, 0.5)]
    atoms, box = _repeated(basis, [a, a * math.sqrt(3), c], [4, 2, 2])
    return _without(atoms, 1, 16, random), box


_CHANNELS = """
pair_style hybrid/overlay buck 6.0 yukawa 0.4 8.0
pair_coeff 1 1 yukawa 4.0
pair_coeff 1 2 buck 5600 0.3 0
pair_coeff 2 2 none
""" + _TIED.format(tied="2")


def _channels(random: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    atoms, box = _repeated({1: [[0.5, 0.5, 0.5]], 2: [[0, 0, 0]]}, [4.4, 4.4, 3.0], [3, 3, 6])
    return _without(atoms, 1, 36, random), box


_MATRIX = """
pair_style hybrid/overlay morse 5.5 yukawa 0.4 8.0
pair_coeff 1 1 yukawa 4.0
pair_coeff 1 2 morse 0.15 1.3 2.3
pair_coeff 2 2 none
""" + _TIED.format(tied="2")


def _matrix(random: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    """Anions tied to places without order, ions among them."""
    anions, box = _apart([0, 90], 12.0, 2.3, random)
    ions: list[np.ndarray] = []
    taken = [place for _, place in anions]
    while len(ions) < 24:
        new = random.random(3) * box
        apart = (new - np.array(taken + ions) + box / 2) % box - box / 2
        if np.linalg.norm(apart, axis=1).min() > 1.7:
            ions.append(new)
    return [*((1, place) for place in ions), *anions], box


# Supercooled, and polymer -------------------------------------------------------------------------

# Kob and Andersen, Phys. Rev. E 51, 4626 (1995), with sigma 2.3 A, epsilon 0.1 eV, 28 g/mol.
_BINARY = """
mass * 28.0
pair_style lj/cut 5.75
pair_modify shift yes
pair_coeff 1 1 0.05 2.024 5.06
pair_coeff 1 2 0.15 1.84 4.6
pair_coeff 2 2 0.10 2.3 5.75
"""


def _binary(random: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    return _apart([25, 100], 2.3 * (125 / 1.2) ** (1 / 3), 1.7, random)


# Kremer and Grest, J. Chem. Phys. 92, 5057 (1990), with sigma 4 A, epsilon 0.035 eV, 42 g/mol.
_CHAINS, _BEADS, _PENETRANTS = 10, 20, 12
_POLYMER = """
mass * 42.0
pair_style lj/cut 4.49
pair_modify shift yes
pair_coeff 1 1 0.035 2.8 3.143
pair_coeff 1 2 0.035 3.4 3.816
pair_coeff 2 2 0.035 4.0 4.49
special_bonds lj 1 1 1
bond_style fene
bond_coeff 1 0.065625 6.0 0.035 4.0
"""


def _polymer(random: np.random.Generator) -> tuple[Atoms, np.ndarray]:
    """Chains as walks that overlap: the softened repulsion of `simulate` parts them."""
    edge = 4.0 * ((_CHAINS * _BEADS + 0.35 * _PENETRANTS) / 0.85) ** (1 / 3)
    atoms: Atoms = [(1, random.random(3) * edge) for _ in range(_PENETRANTS)]
    for _ in range(_CHAINS):
        steps = random.normal(size=(_BEADS, 3))
        steps *= 3.88 / np.linalg.norm(steps, axis=1)[:, None]
        atoms += [(2, place) for place in random.random(3) * edge + steps.cumsum(0)]
    return atoms, np.full(3, edge)


def bonds(world: World) -> list[tuple[int, int]]:
    """Return the pairs of atoms (from 1) that are bonded."""
    if world.name != "polymer":
        return []
    first = _PENETRANTS + 1
    return [
        (first + chain * _BEADS + bead, first + chain * _BEADS + bead + 1)
        for chain in range(_CHAINS)
        for bead in range(_BEADS - 1)
    ]


WORLDS = {
    world.name: world
    for world in (
        World(
            *("caf2-cold", "CaF2 at 1350 K, few hops", True, ("F", "Ca"), "F", 1350.0),
            *(_CAF2, _caf2),
            pressure=True,
        ),
        World(
            *("caf2-hot", "CaF2 at 1700 K", False, ("F", "Ca"), "F", 1700.0, _CAF2, _caf2),
            pressure=True,
        ),
        World(
            *("li2o", "Li2O at 1300 K, one Li in sixteen missing", True, ("Li", "O"), "Li"),
            *(1300.0, _LI2O, _li2o),
            pressure=True,
            frame_fs=2.0,
            short_ps=20.0,
        ),
        World(
            *("nacl", "NaCl melt at 1300 K, Na of both ions", True, ("Na", "Cl"), "Na", 1300.0),
            *(_NACL, _nacl),
            frame_fs=10.0,
            prepare=_QUENCH,
        ),
        World(
            *("silicate", "Li2Si2O5 glass at 1200 K, three quenches", False, ("Li", "Si", "O")),
            *("Li", 1200.0, _silicate_field(), _silicate),
            frame_fs=5.0,
            prepare=_QUENCH,
            media=3,
        ),
        World(
            *("layers", "ions between layers, 900 K, half the sites filled", True),
            *(("Li", "S", "Ti"), "Li", 900.0, _LAYERS, _layers),
        ),
        World(
            *("channels", "ions in channels, 900 K, a third of the sites filled", False),
            *(("Li", "O"), "Li", 900.0, _CHANNELS, _channels),
        ),
        World(
            *("matrix", "ions among anions without order, three such", True, ("Li", "O"), "Li"),
            *(900.0, _MATRIX, _matrix),
            frame_fs=5.0,
            media=3,
        ),
        World(
            *("binary", "supercooled binary liquid, the small particles", True),
            *(("Si", "Fe"), "Si", 812.0, _BINARY, _binary),
            step_fs=2.0,
            frame_fs=10.0,
            prepare=_QUENCH,
        ),
        World(
            *("polymer", "penetrants in a polymer melt", False, ("He", "C"), "He", 406.0),
            *(_POLYMER, _polymer),
            step_fs=5.0,
            frame_fs=10.0,
            short_ps=60.0,
        ),
    )
}
