"""What an analysis finds, as typed objects that go to a result file and come back from it.

Each class is a group of the file (`mdgan_hpc.results.Result`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from mdgan_hpc.analysis.fit.results import (
    Choice,
    Coefficient,
    Collective,
    CollectiveEnsemble,
    Conductivity,
    Counted,
    Diffusion,
    DiffusionTensor,
    Ensemble,
    FiniteSize,
    GreenKubo,
    Onsager,
    OnsagerConductivity,
    Refused,
)
from mdgan_hpc.results import Result, save_results
from mdgan_hpc.verdict import Verdict

__all__ = [
    "Blocks",
    "Cells",
    "Choice",
    "Coefficient",
    "Collective",
    "CollectiveEnsemble",
    "CollectiveProducts",
    "Conductivity",
    "Counted",
    "CurrentSpectrum",
    "Curves",
    "Diffusion",
    "DiffusionTensor",
    "Drift",
    "Dynamics",
    "Ensemble",
    "FiniteSize",
    "GreenKubo",
    "MixtureResult",
    "MsdResult",
    "Onsager",
    "OnsagerConductivity",
    "ParticleMsd",
    "Refused",
    "Spectrum",
    "Vacf",
    "VanHove",
]


@dataclass(frozen=True)
class Curves(Result):
    """Curves over the L lags.

    Attributes
    ----------
    lag_ps : array, [L]
    msd : array, [L]
        Mean squared displacement, Angstrom^2.
    msd_axis : array, [L, 3]
        Along x, y, z.
    slope : array, [L]
        d log MSD / d log t.
    n_independent : array, [L]
        Particles x run length / lag.
    alpha2 : array, [L], optional
        Non-Gaussian parameter.
    fourth_moment : array, [L], optional
        Mean of r^4, Angstrom^4.
    msd_cross : array, [L, 3], optional
        Mean products of the displacement along y and z, x and z, x and y, Angstrom^2.
    msd_collective : array, [L], optional
        Squared sum of the displacements of the ions of a cell, by their number, Angstrom^2.
    """

    lag_ps: np.ndarray
    msd: np.ndarray
    msd_axis: np.ndarray
    slope: np.ndarray
    n_independent: np.ndarray
    alpha2: np.ndarray | None = None
    fourth_moment: np.ndarray | None = None
    msd_collective: np.ndarray | None = None
    msd_cross: np.ndarray | None = None


@dataclass(frozen=True)
class VanHove(Result):
    """Self van Hove functions at K times.

    Attributes
    ----------
    time_ps : array, [K]
    r : array, [R]
        Centres of the bins, Angstrom.
    density : array, [K, R]
        4 pi r^2 G_s(r, t), 1/Angstrom.
    displacement : array, [X]
        Centres of the bins, Angstrom.
    axis_density : array, [K, 3, X]
        Densities of the displacement along x, y, z, 1/Angstrom.
    tensor : array, [K, 3, 3]
        Mean of d d^T over its trace: how anisotropic the motion is.
    """

    time_ps: np.ndarray
    r: np.ndarray
    density: np.ndarray
    displacement: np.ndarray
    tensor: np.ndarray
    axis_density: np.ndarray


@dataclass(frozen=True)
class Vacf(Result):
    """Velocity autocorrelation function.

    Attributes
    ----------
    time_ps : array, [n]
    value : array, [n]
        Angstrom^2/ps^2.
    """

    time_ps: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Spectrum(Result):
    """Spectrum of the velocity autocorrelation function.

    Attributes
    ----------
    frequency_thz : array, [n]
    value : array, [n]
        Angstrom^2/ps.
    """

    frequency_thz: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class CurrentSpectrum(Result):
    """Spectrum of the summed velocity of the ions of a cell, over the root of their number.

    Attributes
    ----------
    frequency_thz : array, [n]
    value : array, [n]
        Angstrom^2/ps, of one component; at zero frequency twice the D of all ions together.
    n_spectra : int
        Periodograms in the mean: cells, pieces of a run, components.
    """

    frequency_thz: np.ndarray
    value: np.ndarray
    n_spectra: int


@dataclass(frozen=True)
class Drift(Result):
    """Mean displacement from first to last record.

    Attributes
    ----------
    mean, standard_error : array, [3]
        Angstrom.
    z : array, [3]
        Their ratio.
    """

    mean: np.ndarray
    standard_error: np.ndarray
    z: np.ndarray


@dataclass(frozen=True)
class ParticleMsd(Result):
    """MSD of each of several runs, or of each particle.

    Attributes
    ----------
    msd : array, [F, L]
        Angstrom^2.
    """

    msd: np.ndarray


@dataclass(frozen=True)
class Blocks(Result):
    """Blocks of the cells of a run: independent samples, whose scatter tells the error of D.

    Attributes
    ----------
    msd : array, [B, L]
        Angstrom^2.
    n_particles : array, [B]
    span_ps : array, [B]
    """

    msd: np.ndarray
    n_particles: np.ndarray
    span_ps: np.ndarray


@dataclass(frozen=True)
class Cells(Result):
    """Cells of ions that saw each other.

    Attributes
    ----------
    number : array of int, [F]
        Of each run.
    particles : array of int, [F]
        Ions in each.
    in_solid : bool
        Whether the other atoms stand still, so that the motion of all ions together has a meaning.
    msd : array, [F, L], optional
        `Curves.msd_collective` of each run, Angstrom^2.
    """

    number: np.ndarray
    particles: np.ndarray
    in_solid: bool = field(default=True, metadata={"stored": "in_crystal"})
    msd: np.ndarray | None = None


@dataclass(frozen=True)
class CollectiveProducts(Result):
    """How the summed displacements of S species of a cell go together, over F runs.

    Attributes
    ----------
    species : tuple of str
    lag_ps : array, [L]
    product_angstrom2 : array, [L, S, S]
        Mean scalar product of the sums of two species, over the root of their numbers of ions.
    n_ions : array of int, [S]
        In a cell.
    n_cells : array of int, [F]
    span_ps : array, [F]
    """

    species: tuple[str, ...]
    lag_ps: np.ndarray
    product_angstrom2: np.ndarray
    n_ions: np.ndarray
    n_cells: np.ndarray
    span_ps: np.ndarray


@dataclass(frozen=True)
class Dynamics(Result):
    """How the ions of one species move, over F replicas.

    Attributes
    ----------
    label : str
        What made the trajectories: ``MD``, or the label of a generator.
    species : str
        Chemical symbol; ``X`` where the files do not tell.
    record_interval_ps : float
    stride : int
        Records between two points of the curves' time grid.
    n_particles, n_records : array of int, [F]
    span_ps : array, [F]
    curves : Curves
    replicas : ParticleMsd
        MSD of each run.
    drift : Drift
    particles : ParticleMsd, optional
        MSD of each particle.
    cells : Cells, optional
        Where ions of a cell saw each other.
    blocks : Blocks, optional
        Where a run holds several cells.
    van_hove : VanHove, optional
    vacf : Vacf, optional
    spectrum : Spectrum, optional
    current : CurrentSpectrum, optional
        Where ions of a cell saw each other.
    files : tuple of str
    generated : bool
        Whether a model made them.
    verdict : Verdict, optional
        Whether that model moves as the MD does, of several the worst; missing where the files do
        not tell.
    models : array of int, [F], optional
        The model that made each run, where several did: of one file, the ions of each model are a
        run.
    """

    label: str
    record_interval_ps: float
    stride: int
    n_particles: np.ndarray
    n_records: np.ndarray
    span_ps: np.ndarray
    curves: Curves
    replicas: ParticleMsd
    drift: Drift
    particles: ParticleMsd | None = None
    cells: Cells | None = field(default=None, metadata={"stored": "simulations"})
    blocks: Blocks | None = field(default=None, metadata={"stored": "bundles"})
    van_hove: VanHove | None = None
    vacf: Vacf | None = None
    spectrum: Spectrum | None = None
    current: CurrentSpectrum | None = None
    files: tuple[str, ...] | None = None
    species: str = "X"
    generated: bool = False
    verdict: Verdict | None = None
    models: np.ndarray | None = None

    def msd_of_models(self) -> dict[int, np.ndarray]:
        """Return the MSD of the ions of each model [L], Angstrom^2; none where one made all."""
        if self.models is None:
            return {}
        return {
            int(number): self._mean_of(self.replicas.msd, np.asarray(self.models) == number)
            for number in np.unique(self.models)
        }

    def of_model(self, number: int) -> Self:
        """Return what is known of the runs of one model: numbers, MSD, the motion of cells."""
        mine, cells = np.asarray(self.models) == number, self.cells
        curves = replace(self.curves, msd=self._mean_of(self.replicas.msd, mine))
        if cells is not None and cells.msd is not None:
            curves = replace(curves, msd_collective=self._mean_of(cells.msd, mine))
            number_of, particles = np.asarray(cells.number), np.asarray(cells.particles)
            cells = Cells(number_of[mine], particles[mine], cells.in_solid, cells.msd[mine])
        return replace(
            self,
            n_particles=np.asarray(self.n_particles)[mine],
            n_records=np.asarray(self.n_records)[mine],
            span_ps=np.asarray(self.span_ps)[mine],
            curves=curves,
            replicas=ParticleMsd(self.replicas.msd[mine]),
            cells=cells,
            blocks=None,
            models=None,
        )

    def _mean_of(self, curves: np.ndarray, mine: np.ndarray) -> np.ndarray:
        """Return the mean of the curves [F, L] of some runs, each counted by its ions."""
        ions = np.asarray(self.n_particles, float)
        return np.asarray(np.average(curves[mine], axis=0, weights=ions[mine]))


#: Entries of `Diffusion` that lie beside its group in a result file.
_BESIDE = ("nernst_einstein", "conductivity", "conductivity_green_kubo")


@dataclass(frozen=True)
class MsdResult(Result):
    """The content of a result file of ``mdgan-msd``.

    Attributes
    ----------
    dynamics : Dynamics
    diffusion : Diffusion, optional
    provenance : dict
    """

    dynamics: Dynamics
    diffusion: Diffusion | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_tree(self) -> dict[str, Any]:
        """Return the tree of the file: the dynamics at its root."""
        tree = self.dynamics.to_tree()
        if self.diffusion is not None:
            group = self.diffusion.to_tree()
            beside = {name: group.pop(name) for name in _BESIDE if name in group}
            tree |= {"diffusion": group, **beside}
        return tree | ({"provenance": self.provenance} if self.provenance else {})

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Self:
        """Make the object from the tree of a file."""
        diffusion = None
        if "diffusion" in tree:
            beside = {name: tree[name] for name in _BESIDE if name in tree}
            diffusion = Diffusion.from_tree({**tree["diffusion"], **beside})
        return cls(Dynamics.from_tree(tree), diffusion, dict(tree.get("provenance", {})))

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write a result file, ``.h5``, ``.json`` or ``.csv`` (the curves)."""
        save_results(path, self.to_tree(), force=force, table="curves")


@dataclass(frozen=True)
class MixtureResult(Result):
    """The content of a result file of ``mdgan-msd`` for several species.

    Attributes
    ----------
    species : dict of MsdResult
        Of each, by its symbol.
    onsager : Onsager or Refused
    products : CollectiveProducts, optional
        Missing where the species were not moved together.
    provenance : dict
    """

    species: dict[str, MsdResult]
    onsager: Onsager | Refused
    products: CollectiveProducts | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path, *, force: bool = False) -> None:
        """Write a result file, ``.h5`` or ``.json``."""
        save_results(path, self.to_tree(), force=force)
