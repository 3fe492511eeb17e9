"""Which sites and which jumps are equivalent by symmetry."""

from dataclasses import dataclass

import numpy as np

from mdgan_hpc.analysis.sites.jumps import JumpTable
from mdgan_hpc.analysis.sites.lattice import Lattice
from mdgan_hpc.analysis.sites.network import Sites, neighbour_distances

#: An operation takes a site to another one within this share of the distance between sites.
_TOLERANCE = 0.25
#: Jumps of lengths that differ by less are of one length, Angstrom.
_LENGTHS = 0.1


@dataclass(frozen=True)
class SiteSymmetry:
    """How the operations of a lattice move its sites.

    Attributes
    ----------
    image : array of int, [G, S]
        Site that each site goes to.
    cell : array of int, [G, S, 3]
        And its cell.
    turn : array of int, [G, 3, 3]
        Cells (rows) go to ``cell @ turn``.
    kind : array of int, [S]
        Equivalent sites have one number.
    """

    image: np.ndarray
    cell: np.ndarray
    turn: np.ndarray
    kind: np.ndarray

    @classmethod
    def of_sites(cls, sites: Sites, lattice: Lattice) -> "SiteSymmetry":
        """Find it; operations that do not map all sites onto sites are left out.

        Where the cell of the sites is not that of the lattice, the identity alone is left.
        """
        images: list[np.ndarray] = []
        cells: list[np.ndarray] = []
        turns: list[np.ndarray] = []
        inverse = np.linalg.inv(sites.lattice)
        limit = _TOLERANCE * neighbour_distances(sites.lattice, sites.fraction).min()
        place = sites.fraction @ sites.lattice
        for rotation, translation in zip(lattice.rotations, lattice.translations, strict=True):
            turn = sites.lattice @ rotation @ inverse
            if np.abs(turn - np.round(turn)).max() > 0.05:
                continue
            moved = (place @ rotation + translation) @ inverse
            way = moved[:, None] - sites.fraction[None]
            cell = np.round(way)
            distance = np.linalg.norm((way - cell) @ sites.lattice, axis=-1)
            image = distance.argmin(1)
            every = np.arange(sites.count)
            if distance[every, image].max() > limit or len(np.unique(image)) < sites.count:
                continue
            images.append(image)
            cells.append(cell[every, image].astype(int))
            turns.append(np.round(turn))
        image = np.array(images)
        lowest = image.min(0)  # the operations are a group: this is the first of the orbit
        kind = np.unique(lowest, return_inverse=True)[1]
        return cls(image, np.array(cells), np.array(turns).astype(int), kind)

    def jump_kinds(self, table: JumpTable, sites: Sites) -> np.ndarray:
        """Return the number of the kind [J] of each type of jump: equivalent ones have the same.

        Where no symmetry is known, jumps with the same ends and of one length are one kind.
        """
        if len(self.image) == 1:
            return self._by_length(table, sites)
        lowest = np.full(len(table.begin), np.iinfo(np.int64).max)
        for image, cell, turn in zip(self.image, self.cell, self.turn, strict=True):
            begin, end = image[table.begin], image[table.end]
            shift = table.shift @ turn + cell[table.end] - cell[table.begin]
            code = np.zeros(len(begin), np.int64)
            for k in range(3):
                code = code * 1024 + shift[:, k] + 512
            code = (code * image.size + begin) * image.size + end
            lowest = np.minimum(lowest, code)
        return np.asarray(np.unique(lowest, return_inverse=True)[1])

    def _by_length(self, table: JumpTable, sites: Sites) -> np.ndarray:
        length = np.linalg.norm(table.vectors(sites), axis=1)
        ends = self.kind[table.begin] * len(self.kind) + self.kind[table.end]
        order = np.lexsort((length, ends))
        other = np.diff(ends[order]) != 0
        longer = np.diff(length[order]) > _LENGTHS
        kind = np.empty(len(order), int)
        kind[order] = np.append(0, np.cumsum(other | longer))[: len(order)]
        return kind
