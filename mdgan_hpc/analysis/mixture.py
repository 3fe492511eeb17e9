"""Several species of one system: each alone, and how they move together."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.analysis.dynamics import (
    add_shared,
    complete_extents,
    measure_dynamics,
    open_runs,
)
from mdgan_hpc.analysis.fit.diffusion import fit_diffusion
from mdgan_hpc.analysis.fit.onsager import Conditions, fit_onsager
from mdgan_hpc.analysis.observables.collective import mean_collective
from mdgan_hpc.analysis.observables.run import CollectiveRun
from mdgan_hpc.analysis.parts import parts_of
from mdgan_hpc.analysis.plan import make_plan
from mdgan_hpc.analysis.results import (
    CollectiveProducts,
    Diffusion,
    Dynamics,
    MixtureResult,
    MsdResult,
    Refused,
)
from mdgan_hpc.analysis.settings import DynamicsConfig
from mdgan_hpc.config import from_options
from mdgan_hpc.errors import UsageError
from mdgan_hpc.parallel import Communicator, SingleProcess
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.species import atomic_number, atomic_numbers_of, symbol
from mdgan_hpc.trajectory.temperature import temperature_of

_ALONE = Refused(
    "ions were generated one by one, or each species alone: nothing tells how they move together"
)


def species_of(text: str) -> tuple[str, ...]:
    """Return the symbols of species given as a text such as ``Na,Cl``, in its order.

    Raises
    ------
    UsageError
        If one is no element, or is named twice.
    """
    if not text or len(atomic_numbers_of(text)) == 1:
        return (text,)
    return tuple(symbol(atomic_number(name)) for name in text.split(","))


def onsager(
    paths: str | Path | Sequence[str | Path],
    species: str,
    *,
    charges: Sequence[float] | None = None,
    temperature_k: float | None = None,
    window_ps: tuple[float, float] | None = None,
    accept_poor_model: bool = False,
    **options: Any,
) -> MixtureResult:
    """Measure how the ions of several species move, alone and together.

    Parameters
    ----------
    paths : path or sequence of path
        H5MD files of one system, replicas of each other.
    species : str
        Such as ``Na,Cl``.
    charges : sequence of float, optional
        Of an ion of each species, elementary charges: asks for conductivity and transference
        numbers.
    temperature_k : float, optional
        If not given the target of the simulation, or else the mean of the first file.
    window_ps : tuple of float, optional
        First and last lag of all fits; by rule if not given.
    accept_poor_model : bool
        Give coefficients also of a model that does not move as the MD does.
    **options
        Fields of `DynamicsConfig`.

    Returns
    -------
    MixtureResult

    Raises
    ------
    DataError
        If the runs do not fit together or a file cannot be used.
    UsageError
        If fewer than two species are named, or the conductivity lacks what it needs.
    """
    names = species_of(species)
    if len(names) < 2:
        raise UsageError(f"{species!r} names one species", remedy='name several: "Na,Cl"')
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    config = from_options(DynamicsConfig, options)
    told = conditions_of(paths[0], names, charges, temperature_k)
    found = measure_mixture(paths, names, config, SingleProcess())
    assert found is not None
    each, products = found
    fits = {
        name: fit_diffusion(d, window_ps=window_ps, accept_poor_model=accept_poor_model)
        for name, d in each.items()
    }
    return mixture_result(each, fits, products, told)


def mixture_result(
    each: Mapping[str, Dynamics],
    fits: Mapping[str, Diffusion],
    products: CollectiveProducts | None,
    told: Conditions | None,
) -> MixtureResult:
    """Put together what `measure_mixture` found and the fits of each species."""
    together = _ALONE if products is None else fit_onsager(products, fits, told)
    return MixtureResult(
        {name: MsdResult(each[name], fits[name]) for name in each}, together, products
    )


def conditions_of(
    path: str | Path,
    species: Sequence[str],
    charges: Sequence[float] | None,
    temperature_k: float | None,
) -> Conditions | None:
    """Return temperature and volume; None where a file does not tell them and no charge asks.

    Raises
    ------
    UsageError
        If charges are given and there are not as many as species, or one of these is not known.
    """
    if charges is not None and len(charges) != len(species):
        raise UsageError(
            f"{len(charges)} charges are given for {len(species)} species",
            remedy=f"give one for each of {','.join(species)}, as in 1,-1",
        )
    with Trajectory(path, ",".join(species), incomplete_ok=True) as trajectory:
        cell = trajectory.constant_cell
        kelvin = temperature_k if temperature_k is not None else temperature_of(trajectory).k
    if charges is not None and (cell is None or kelvin is None):
        lacks = "constant cell, so no volume" if cell is None else "temperature"
        remedy = "" if cell is None else "give --temperature"
        raise UsageError(f"holds no {lacks}", where=path, remedy=remedy)
    if cell is None or kelvin is None:
        return None
    volume = float(abs(np.linalg.det(cell)))
    return Conditions(float(kelvin), volume, None if charges is None else tuple(charges))


def measure_mixture(
    paths: Sequence[str | Path],
    species: Sequence[str],
    config: DynamicsConfig,
    communicator: Communicator,
) -> tuple[dict[str, Dynamics], CollectiveProducts | None] | None:
    """Measure each species, and the products of their summed displacements.

    The product of two sums follows from the squares of both and of their own sum, all of which are
    measured as collective motion is: 2 A . B = (A + B)^2 - A^2 - B^2. Every rank must call it.

    Returns
    -------
    tuple or None
        On rank 0 the dynamics of each species and the products, where species of a cell were moved
        together; None on the others.
    """
    each: dict[str, Dynamics] = {}
    for name in species:
        found = measure_dynamics(paths, replace(config, species=name), communicator)
        if found is not None:
            each[name] = found
    pairs = {}
    for pair in itertools.combinations(range(len(species)), 2):
        names = ",".join(species[i] for i in pair)
        pairs[pair] = _sums_together(paths, replace(config, species=names), communicator)
    if communicator.rank != 0:
        return None
    return each, _products(species, each, pairs)


def _sums_together(
    paths: Sequence[str | Path], config: DynamicsConfig, communicator: Communicator
) -> list[CollectiveRun]:
    """Return the sums of the ions of two species as if they were one, reduced to rank 0."""
    extents = complete_extents(paths, config, communicator)
    with open_runs(paths, config.species, extents, several_species=True) as trajectories:
        plan = make_plan(trajectories, config)
        parts = [part for t in trajectories for part in parts_of(t)]
        runs = [
            CollectiveRun(
                part.trajectory.n_records,
                plan,
                n_particles=part.n_particles,
                ions_per_cell=part.trajectory.ions_per_cell,
            )
            for part in parts
        ]
        add_shared(runs, parts, communicator, f"{config.species} together")
        for run in runs:
            run.reduce(communicator)
        return runs


def _products(
    species: Sequence[str],
    each: Mapping[str, Dynamics],
    pairs: Mapping[tuple[int, int], Sequence[CollectiveRun]],
) -> CollectiveProducts | None:
    """Return the products; None where no cell holds ions of two species."""
    first = each[species[0]]
    cells = [each[name].cells for name in species]
    n_ions = np.array([1 if cell is None else int(cell.particles[0]) for cell in cells])
    lag_ps = first.curves.lag_ps
    product = np.zeros((len(lag_ps), len(species), len(species)))
    for i, name in enumerate(species):
        curves = each[name].curves
        alone = curves.msd if curves.msd_collective is None else curves.msd_collective
        product[:, i, i] = n_ions[i] * alone
    for (i, j), runs in pairs.items():
        both = mean_collective([run.collective for run in runs])
        if both is None:
            return None
        crossed = (n_ions[i] + n_ions[j]) * both - product[:, i, i] - product[:, j, j]
        product[:, i, j] = product[:, j, i] = crossed / 2
    root = np.sqrt(n_ions)
    return CollectiveProducts(
        species=tuple(species),
        lag_ps=lag_ps,
        product_angstrom2=product / np.outer(root, root),
        n_ions=n_ions,
        n_cells=np.array([run.collective.n_cells for run in next(iter(pairs.values()))]),
        span_ps=first.span_ps,
    )
