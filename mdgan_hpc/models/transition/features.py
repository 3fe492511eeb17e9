"""The table of what the network sees: one row an input, for training and free runs alike.

A row says what it carries from step to step (`carried`), its values along data (`along`), how a
step changes them (`after`), and what the network sees of them (`inputs`). The likelihood uses
`along` and `inputs`, free runs `inputs` and `after`; a row whose inputs can be had faster in a free
run gives that as `compiled`, with the same result to round-off. The rows of single ions are in
`mdgan_hpc.models.transition.rows`, which has the table too: a new input is a new row there. Those
of what ions see are in `surroundings`, of what stays along a run (temperature, species) in `told`.

Arrays that a row works on have their own axes first and those of samples (and steps) last: vectors
are [v, 3, ...], scalars [s, ...]. States outside have the sample first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from mdgan_hpc.models.base import State
from mdgan_hpc.models.neighbours import Pairs
from mdgan_hpc.models.transition.mixture import saturated
from mdgan_hpc.models.transition.repulsion import MeasuredRepulsion


@dataclass(frozen=True)
class History:
    """Windows of data in steps; n of them, after those that only fill the moving averages.

    Attributes
    ----------
    displacements : Tensor, [B, n, p, 3]
        The last ones at the end of each step, newest first, Angstrom (`Residuals`).
    residual : Tensor, [B, n, r, 3]
        Whitened, of each step.
    steps : Tensor, [B, m + n, 3]
        Displacement over each step, Angstrom.
    ends : Tensor, [B, n, 3]
        Positions at the end of each step, Angstrom, float64.
    neighbours : Tensor, [B, n, A, 4], or None
        What ions see around them at the end of each step.
    told, medium : Tensor, [B], or None
        Temperature or species (`Told`), and medium, where the generator is told it.
    """

    displacements: Tensor
    residual: Tensor
    steps: Tensor
    ends: Tensor
    neighbours: Tensor | None
    told: Tensor | None = None
    medium: Tensor | None = None


class Step(NamedTuple):
    """One step of a free run.

    Attributes
    ----------
    moved : Tensor, [r, 3, B]
        Displacements of its records, Angstrom, in the frame of `Residuals`.
    total : Tensor, [3, B]
        Displacement over the step, in the frame of positions.
    residual : Tensor, [r, 3, B]
        Whitened.
    """

    moved: Tensor
    total: Tensor
    residual: Tensor


class Inputs(NamedTuple):
    """What the network sees of a row.

    Attributes
    ----------
    vectors : sequence of Tensor, [v, 3, ...]
        Turn with the group; in standard deviations.
    waves : sequence of Tensor, [m, ...]
        All cosines, then all sines, of reciprocal lattice vectors.
    scalars : sequence of Tensor, [s, ...]
        Stay as they are.
    """

    vectors: Sequence[Tensor] = ()
    waves: Sequence[Tensor] = ()
    scalars: Sequence[Tensor] = ()


def nothing() -> None:
    """Begin without a thing to do."""


class Compiled(NamedTuple):
    """The functions of a row that a free run calls, with contiguous arrays.

    `inputs` and `after` at each step; `begin` before the first of a run, whose result depends on
    no run before; `pairs`, after `inputs`, tells which ions are near each other, and `repulsion`
    where those push each other apart.
    """

    inputs: Callable[[State], Inputs]
    after: Callable[[State, Step], State]
    begin: Callable[[], None] = nothing
    pairs: Callable[[], Pairs] | None = None
    repulsion: MeasuredRepulsion | None = None


class Feature(nn.Module):
    """A row of the table.

    Attributes
    ----------
    name : str
    n_vectors, n_waves, n_scalars : int
        Inputs of the network: vectors, cosines and sines together, scalars.
    fill_steps : int
        Steps of data before each window that only fill what it carries.
    """

    name: str
    n_vectors = n_waves = n_scalars = fill_steps = 0

    def carried(self) -> dict[str, tuple[int, ...]]:
        """Return names and shapes of what a free run carries for this row."""
        return {}

    def along(self, history: History) -> State:
        """Return the values at the end of each step, sample and step first: [B, n, ...]."""
        raise NotImplementedError

    def inputs(self, known: State) -> Inputs:
        """Return what the network sees of the values of all rows."""
        raise NotImplementedError

    def after(self, known: State, step: Step) -> State:
        """Return the carried values after a step of a free run."""
        return {}

    def compiled(self, told: Tensor | None) -> Compiled:
        """Return `inputs` and `after` for a free run.

        Parameters
        ----------
        told : Tensor, [] or [k], or None
            A temperature, or the species of the k ions that follow each other (`Told`).
        """
        return Compiled(self.inputs, self.after)

    def _buffer(self, name: str, values: object) -> None:
        tensor = torch.as_tensor(np.array(values), dtype=torch.float32)
        self.register_buffer(name, tensor)


Row = TypeVar("Row", bound=Feature)


class FeatureTable(nn.Module):
    """All rows, in the order of the network's inputs: vectors, waves, scalars.

    Parameters
    ----------
    rows : sequence of Feature
    bound : float
        Of all vectors, standard deviations (`saturated`).
    """

    def __init__(self, rows: Sequence[Feature], bound: float) -> None:
        super().__init__()
        self.rows = nn.ModuleDict({row.name: row for row in rows})
        self._ordered = tuple(rows)
        self.bound = bound
        self.n_vectors = sum(row.n_vectors for row in rows)
        self.n_waves = sum(row.n_waves for row in rows)
        self.n_scalars = sum(row.n_scalars for row in rows)
        self.n_inputs = 3 * self.n_vectors + self.n_waves + self.n_scalars
        self.fill_steps = max(row.fill_steps for row in rows)

    def row(self, kind: type[Row]) -> Row | None:
        """Return the row of a kind, if there is one."""
        return next((row for row in self._ordered if isinstance(row, kind)), None)

    def carried(self) -> dict[str, tuple[int, ...]]:
        """Return names and shapes of all that a free run carries beside the memory."""
        return {name: shape for row in self._ordered for name, shape in row.carried().items()}

    def along(self, history: History) -> State:
        """Return the values of all rows along data, [B, n, ...]."""
        return {name: value for row in self._ordered for name, value in row.along(history).items()}

    def inputs_along(self, known: State) -> Tensor:
        """Return the inputs [B, n, n_inputs] for values [B, n, ...]."""
        columns = {name: _samples_last(value) for name, value in known.items()}
        parts = joined([row.inputs(columns) for row in self._ordered], self.bound)
        return torch.cat([part.movedim(0, -1) for part in parts], -1)

    def compiled(self, told: Tensor | None = None) -> list[Compiled]:
        """Return the rows as a free run calls them."""
        return [row.compiled(told) for row in self._ordered]


def over(values: Tensor, like: Tensor) -> Tensor:
    """Give values axes of length one behind their own, as many as `like` has."""
    return values.view(*values.shape, *[1] * (like.ndim - values.ndim))


def _samples_last(values: Tensor) -> Tensor:
    """Turn [B, n, ...] to [..., B, n], without a copy."""
    return values.permute(*range(2, values.ndim), 0, 1)


def joined(rows: Sequence[Inputs], bound: float) -> list[Tensor]:
    """Put the inputs of all rows in order: bounded vectors, waves, scalars, [inputs, ...] each."""
    vectors = torch.cat([v for row in rows for v in row.vectors])
    parts = [saturated(vectors, bound, 1).flatten(0, 1)]
    parts += [w for row in rows for w in row.waves]
    return parts + [s for row in rows for s in row.scalars]
