"""Jumps on lattices with known answers."""

import numpy as np

from tests.support.motion import write

#: Half of the vectors to the neighbours, in a unit of length that is a share of the cubic cell, and
#: sites of that cell in fractions.
NEIGHBOURS = {
    "simple cubic": [(1, 0, 0), (0, 1, 0), (0, 0, 1)],
    "bcc": [(1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)],
    "fcc": [(1, 1, 0), (1, -1, 0), (1, 0, 1), (1, 0, -1), (0, 1, 1), (0, 1, -1)],
}
UNIT = {"simple cubic": 1.0, "bcc": 0.5, "fcc": 0.5}
PLACES = {
    "simple cubic": [(0, 0, 0)],
    "bcc": [(0, 0, 0), (0.5, 0.5, 0.5)],
    "fcc": [(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)],
}
#: Tracer correlation factors of diffusion by single vacancies (Compaan and Haven 1956).
FACTORS = {"simple cubic": 0.6531, "bcc": 0.7272, "fcc": 0.7815}


def vacancy_jumps(lattice, n_ions, n_jumps, rng, *, radius=9):
    """Jumps [n_jumps, n_ions, 3], in cubic cells, of tracers that a vacancy moves.

    The vacancy stands where the tracer was. It walks at random until it meets the tracer again,
    from a direction whose probabilities are computed here by following the distribution of the
    walk, or until it is `radius` away: the next vacancy comes from anywhere.
    """
    half = np.array(NEIGHBOURS[lattice])
    ways = np.concatenate([half, -half])  # [z, 3]
    z, size = len(ways), 2 * radius + 1
    at = np.full((z, size, size, size), 0.0)
    middle = ways + radius
    starts = radius - ways  # the vacancy is behind the tracer
    at[np.arange(z), starts[:, 0], starts[:, 1], starts[:, 2]] = 1.0
    met = np.zeros((z, z))  # after a jump along the first, from the second
    for _ in range(2000):
        arriving = at[:, middle[:, 0], middle[:, 1], middle[:, 2]] / z
        met += arriving
        moved = sum(np.roll(at, tuple(w), (1, 2, 3)) for w in ways) / z
        moved[:, radius, radius, radius] = 0.0
        for axis in (1, 2, 3):
            for edge in (0, 1, -1, -2):
                moved[(slice(None),) * axis + (edge,)] = 0.0
        at = moved
        if at.sum() < 1e-2:
            break
    met += (1 - met.sum(1, keepdims=True)) / z
    edges = met.cumsum(1)
    last = rng.integers(0, z, n_ions)
    jumps = np.empty((n_jumps, n_ions, 3), int)
    for step in range(n_jumps):
        last = np.minimum((edges[last] < rng.random(n_ions)[:, None]).sum(1), z - 1)
        jumps[step] = ways[last]
    return UNIT[lattice] * jumps


def lattice_gas(size, n_ions, n_cells, n_records, attempts, rng):
    """Sites [T, n_cells, n_ions, 3] of a lattice gas on a simple cubic lattice, not wrapped.

    Between two records each cell makes so many attempts: an ion and a direction are drawn, and the
    ion moves if the site is empty (kinetic Monte Carlo at infinite temperature). All ways to place
    the ions are equally likely, so an attempt succeeds with the share of empty sites among others.
    """
    ways = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    cells = np.arange(n_cells)
    sites = np.stack(np.unravel_index(np.arange(size**3), (size,) * 3), -1)
    order = np.argsort(rng.random((n_cells, size**3)), 1)[:, :n_ions]
    place = sites[order]  # [C, n, 3]
    full = np.zeros((n_cells, size, size, size), bool)
    full[cells[:, None], *np.moveaxis(place % size, -1, 0)] = True
    records = np.empty((n_records, n_cells, n_ions, 3), int)
    for record in range(n_records):
        records[record] = place
        for _ in range(attempts):
            ion = rng.integers(0, n_ions, n_cells)
            here = place[cells, ion]
            there = here + ways[rng.integers(0, 6, n_cells)]
            free = ~full[cells, *(there % size).T]
            full[cells[free], *(here[free] % size).T] = False
            full[cells[free], *(there[free] % size).T] = True
            place[cells[free], ion[free]] = there[free]
    return records


def write_cubic(path, positions, n, a, **options):
    """Write positions [T, N, 3] in n cubic cells of side `a` along each axis, with their corners.

    A framework atom sits in the middle of each cell.
    """
    corners = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    framework = {
        "species": np.full(n**3, 8),
        "position": (corners + 0.5) * a,
        "rms_displacement": np.full(n**3, 0.1),
    }
    parameters = {"framework": framework, **options.pop("parameters", {})}
    return write(path, positions, cell=np.eye(3) * n * a, parameters=parameters, **options)


def write_poscar(path, fractions, cell, symbol="Li"):
    """Write sites as a POSCAR."""
    lines = ["sites", "1.0", *(" ".join(f"{v:.9f}" for v in row) for row in cell)]
    lines += [symbol, str(len(fractions)), "Direct"]
    lines += [" ".join(f"{v:.9f}" for v in row) for row in fractions]
    path.write_text("\n".join(lines) + "\n")
    return path
