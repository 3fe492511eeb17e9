"""What `mdgan-msd` does: read, compute on all ranks, write one result, tell the essentials."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from mdgan_hpc.analysis.diffusion import diffusion_tree, lags_in_window
from mdgan_hpc.analysis.dynamics import analyse, lags_of
from mdgan_hpc.analysis.plan import DynamicsConfig
from mdgan_hpc.analysis.text import diffusion_lines
from mdgan_hpc.analysis.transport import arrhenius, nernst_einstein
from mdgan_hpc.errors import DataError, UsageError
from mdgan_hpc.outputs import refuse_existing
from mdgan_hpc.parallel import world
from mdgan_hpc.provenance import Fingerprints, provenance
from mdgan_hpc.results import check_suffix, load_results, save_results
from mdgan_hpc.trajectory import Trajectory


@dataclass(frozen=True)
class MsdConfig:
    """Inputs, output and choices of `mdgan-msd`.

    Attributes
    ----------
    files : tuple of path
        Replicas of one system.
    output : path
    window_ps : tuple of float, optional
        Fit window.
    charge : float, optional
        Of an ion, in elementary charges: asks for the Nernst-Einstein estimate.
    temperature_k : float, optional
        For that; the mean of the files if not given.
    """

    files: tuple[str, ...]
    output: str
    window_ps: tuple[float, float] | None = None
    charge: float | None = None
    temperature_k: float | None = None
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    force: bool = False


def measure(config: MsdConfig) -> None:
    """Analyse the files, write the result and print the diffusion coefficient."""
    check_suffix(config.output)
    refuse_existing(config.output, force=config.force)
    communicator = world()
    # What the user may have got wrong comes first: the analysis may take long.
    if not config.dynamics.full and (config.window_ps or config.charge is not None):
        raise UsageError(
            "--msd-only gives no D, so --fit and --nernst-einstein have no use",
            remedy="leave out --msd-only",
        )
    if config.window_ps is not None:
        lags_in_window(lags_of(config.files, config.dynamics), config.window_ps)
    charges = None if config.charge is None else _charges(config)
    with Fingerprints(config.files if communicator.rank == 0 else ()) as fingerprints:
        dynamics = analyse(config.files, config.dynamics, communicator)
        if dynamics is None:
            return
        inputs = fingerprints.result()
    lines: list[str] = []
    if config.dynamics.full:
        dynamics["diffusion"] = diffusion_tree(dynamics, window_ps=config.window_ps)
        lines += diffusion_lines(dynamics["diffusion"])
    if charges is not None and "total" not in dynamics["diffusion"]:
        lines.append("no conductivity without D")
    elif charges is not None:
        dynamics["nernst_einstein"] = _conductivity(charges, dynamics["diffusion"]["total"])
        lines.append(
            "Nernst-Einstein estimate of the conductivity, as if ions moved independently: "
            "{sigma_s_per_cm:.3g} +- {error_s_per_cm:.2g} S/cm at {temperature_k:.0f} K".format(
                **dynamics["nernst_einstein"]
            )
        )
        collective = dynamics["diffusion"].get("collective", {})
        if "haven_ratio" in collective:
            dynamics["conductivity"] = _conductivity(charges, collective)
            lines.append(
                "Conductivity from the motion of all ions together: "
                "{sigma_s_per_cm:.3g} +- {error_s_per_cm:.2g} S/cm".format(
                    **dynamics["conductivity"]
                )
            )
    dynamics["provenance"] = provenance(
        config=asdict(config), inputs=inputs, ranks=communicator.size
    )
    save_results(config.output, dynamics, force=config.force, table="curves")
    for line in lines:
        print(line)
    print(f"Written to {config.output}")


def _charges(config: MsdConfig) -> dict[str, float]:
    """Return what the conductivity needs beside D: ions, their charge, volume, temperature."""
    with Trajectory(config.files[0], config.dynamics.species or None) as trajectory:
        ions = trajectory.ions_per_cell
        if trajectory.parameter("training_span_ps") is not None and ions == 1:
            raise UsageError(
                "ions generated one by one do not tell how many of them share a volume",
                where=trajectory.path,
                remedy="give the MD trajectories",
            )
        cell = trajectory.constant_cell
        measured = trajectory.observable("temperature")
    if cell is None:
        raise DataError("has no constant cell, so no volume", where=config.files[0])
    temperature = config.temperature_k
    if temperature is None:
        if measured is None:
            raise UsageError("the files hold no temperature", remedy="give --temperature")
        temperature = float(np.nanmean(measured))
    assert config.charge is not None
    return {
        "n_ions": ions,
        "volume_a3": float(abs(np.linalg.det(cell))),
        "charge": config.charge,
        "temperature_k": temperature,
    }


def _conductivity(charges: Mapping[str, Any], total: Mapping[str, Any]) -> dict[str, float]:
    sigma = nernst_einstein(total["d_angstrom2_per_ps"], **charges)
    relative = total["error_angstrom2_per_ps"] / total["d_angstrom2_per_ps"]
    return {"sigma_s_per_cm": sigma, "error_s_per_cm": sigma * relative, **charges}


def fit_arrhenius(
    results: Sequence[tuple[float, str]], output: str, *, force: bool = False
) -> None:
    """Fit D of several results against temperature, write the fit and print it.

    Parameters
    ----------
    results : sequence of (temperature in K, path)
        Results of `measure` (.json or .h5).
    output : path
    force : bool

    Raises
    ------
    DataError
        If a result holds no D.
    """
    check_suffix(output)
    refuse_existing(output, force=force)
    d, errors = [], []
    for _, path in results:
        tree = load_results(path).get("diffusion", {})
        if "total" not in tree:
            raise DataError(tree.get("refused", "holds no diffusion coefficient"), where=path)
        d.append(tree["total"]["d_angstrom2_per_ps"])
        errors.append(tree["total"]["error_angstrom2_per_ps"])
    temperatures = [t for t, _ in results]
    fit = arrhenius(temperatures, d, errors)
    columns = {
        "temperature_k": np.array(temperatures),
        "d_angstrom2_per_ps": np.array(d),
        "error_angstrom2_per_ps": np.array(errors),
        "fit_angstrom2_per_ps": np.array([fit.at(t)[0] for t in temperatures]),
    }
    record = provenance(inputs=[path for _, path in results])
    save_results(
        output, {"arrhenius": fit.tree(), "points": columns, "provenance": record}, table="points"
    )
    print(
        f"Activation energy {fit.activation_ev:.3f} +- {fit.activation_error_ev:.3f} eV, "
        f"D0 {fit.d0:.3g} A^2/ps (log D0 +- {fit.log_d0_error:.2g})"
    )
    print(f"Written to {output}")
