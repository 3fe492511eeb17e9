"""What a report shows, as typed objects that go to a result file and come back from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from mdgan_hpc.analysis.arrhenius import ArrheniusResult
from mdgan_hpc.analysis.fidelity import FidelityResult
from mdgan_hpc.analysis.fidelity.critic import CriticResult
from mdgan_hpc.analysis.fit.results import Coefficient, Diffusion, Ensemble, Refused
from mdgan_hpc.analysis.results import Dynamics
from mdgan_hpc.analysis.sites.density import DensitySlices
from mdgan_hpc.analysis.sites.results import Activation, SitesResult
from mdgan_hpc.report.system import System
from mdgan_hpc.results import Result
from mdgan_hpc.verdict import Verdict


@dataclass(frozen=True)
class IonPaths(Result):
    """Where the first ions of the runs go.

    Attributes
    ----------
    time_ps : array, [t]
    position : array, [t, n, 3]
        Angstrom.
    """

    time_ps: np.ndarray
    position: np.ndarray


@dataclass(frozen=True)
class Displacements(Result):
    """Displacements of the first ions from their start.

    Attributes
    ----------
    time_ps : array, [t]
    displacement : array, [t, n, 3]
        Angstrom; NaN after the end of a run.
    """

    time_ps: np.ndarray
    displacement: np.ndarray


@dataclass(frozen=True)
class Side(Result):
    """One side of a comparison: MD, what a model generated, or a baseline.

    Attributes
    ----------
    dynamics : Dynamics
        Its entries are those of the group itself in a file.
    diffusion : Diffusion
    window_of_md : Coefficient or Refused, optional
        D over the fit window of the MD.
    paths : IonPaths, optional
    displacements : Displacements, optional
    """

    dynamics: Dynamics
    diffusion: Diffusion
    window_of_md: Coefficient | Refused | None = None
    paths: IonPaths | None = None
    displacements: Displacements | None = None

    @property
    def label(self) -> str:
        """What made the trajectories."""
        return self.dynamics.label

    @property
    def ensemble(self) -> Ensemble | None:
        """D over several models, if there are."""
        return self.diffusion.ensemble

    def to_tree(self) -> dict[str, Any]:
        """Return the result tree, the dynamics at its root."""
        tree = super().to_tree()
        return {**tree.pop("dynamics"), **tree}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Self:
        """Make the object from a result tree."""
        return super().from_tree({**tree, "dynamics": tree})


@dataclass(frozen=True)
class MsdRatio(Result):
    """Generated over MD mean squared displacement, from one record to a quarter of the run.

    Attributes
    ----------
    lag_ps, ratio : array, [L]
    worst : float
        The ratio farthest from one, on a log scale.
    worst_lag_ps : float
    """

    lag_ps: np.ndarray
    ratio: np.ndarray
    worst: float
    worst_lag_ps: float


@dataclass(frozen=True)
class SitesCompared(Result):
    """The same sites, and the jumps of both between them.

    Attributes
    ----------
    md, generated : SitesResult
    """

    md: SitesResult
    generated: SitesResult


@dataclass(frozen=True)
class Extrapolation(Result):
    """MSD = c + 6 D t of the MD with its 95 % interval.

    Attributes
    ----------
    lag_ps, msd, low, high : array, [L]
        ps and Angstrom^2.
    """

    lag_ps: np.ndarray
    msd: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Ceiling(Result):
    """The relative error of D that MD data allow at best, by the number of hops in them.

    Attributes
    ----------
    n_effective : float
        Ions x MSD over the length of a run / squared hop length.
    relative_error : float
    hop_length : float
        Angstrom.
    """

    n_effective: float
    relative_error: float
    hop_length: float


@dataclass(frozen=True)
class Samples(Result):
    """Training samples against the step skip.

    Attributes
    ----------
    step_skip : array, [S]
        Stored records from one record to the next.
    overlapping, independent : array, [S]
        Windows from every start, and windows that do not overlap in time.
    records : int
        Records in a window.
    used_step_skip : int, optional
    """

    step_skip: np.ndarray
    overlapping: np.ndarray
    independent: np.ndarray
    records: int
    used_step_skip: int | None = None


@dataclass(frozen=True)
class LengthCurve(Result):
    """D fitted to the beginnings of trajectories.

    Attributes
    ----------
    span_ps : array, [K]
        Length of the part; parts that give no D are left out.
    d_angstrom2_per_ps, low_angstrom2_per_ps, high_angstrom2_per_ps : array, [K]
        D and its 95 % interval.
    n_particles : int
        Ions that were looked at.
    """

    span_ps: np.ndarray
    d_angstrom2_per_ps: np.ndarray
    low_angstrom2_per_ps: np.ndarray
    high_angstrom2_per_ps: np.ndarray
    n_particles: int


@dataclass(frozen=True)
class Lengths(Result):
    """D against the length of the trajectory.

    Attributes
    ----------
    md, generated : LengthCurve
    """

    md: LengthCurve
    generated: LengthCurve


@dataclass(frozen=True)
class Pairs(Result):
    """Radial distribution functions of the mobile ions.

    Attributes
    ----------
    r : array, [R]
        Angstrom.
    md, generated : array, [R]
    md_runs : array, [F, R]
        Of each MD run.
    """

    r: np.ndarray
    md: np.ndarray
    md_runs: np.ndarray
    generated: np.ndarray


@dataclass(frozen=True)
class Comparison(Result):
    """MD and generated trajectories side by side.

    Attributes
    ----------
    system : System
    md, generated : Side
    runs : dict of str to Side
        Each MD run alone, under its number, where there are several.
    msd_ratio : MsdRatio
    fidelity : dict of str to FidelityResult
        Of the generated trajectories, under their label, and of the baselines.
    baselines : dict of str to Side
    other_cells : dict of str to Side
        What was generated in cells of other sizes, by the ions that saw each other.
    ions_seen : str
        The same of `generated`.
    ceiling : Ceiling
    samples : Samples
    lengths : Lengths
    training_span_ps : float
        Length of a training run.
    crystal : str
        What the framework of the MD runs is.
    conditions : list of list of str
        Rows of the table of conditions and times: quantity, MD, generated.
    extrapolation : Extrapolation, optional
        Where the MD gives D.
    sites : SitesCompared, optional
        In a crystal.
    density : DensitySlices, optional
        In a crystal.
    pairs : Pairs, optional
        Where generated ions saw each other.
    verdict : Verdict, optional
        Whether the model moves as this MD does.
    critic : CriticResult, optional
        Whether a classifier can tell generated windows from MD that it never saw.
    arrhenius : ArrheniusResult, optional
        D and conductivity against the temperature, where given.
    activation : Activation, optional
        Jumps against the temperature, where given.
    provenance : dict
    key : str
        Changes when the inputs or the configuration do.
    """

    system: System
    md: Side
    generated: Side
    runs: dict[str, Side]
    msd_ratio: MsdRatio
    fidelity: dict[str, FidelityResult]
    baselines: dict[str, Side]
    ceiling: Ceiling
    samples: Samples
    lengths: Lengths
    training_span_ps: float
    crystal: str
    conditions: list[list[str]]
    extrapolation: Extrapolation | None = None
    sites: SitesCompared | None = None
    density: DensitySlices | None = None
    pairs: Pairs | None = None
    verdict: Verdict | None = None
    critic: CriticResult | None = None
    other_cells: dict[str, Side] = field(default_factory=dict)
    ions_seen: str = ""
    arrhenius: ArrheniusResult | None = None
    activation: Activation | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    key: str = ""
