"""The analysis behind a report: computed once, kept in the folder, told in sentences."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mdgan_hpc.analysis.comparison import ReportConfig, compare, fingerprint
from mdgan_hpc.analysis.text import diffusion_cells, ensemble_cells, haven_line, with_error
from mdgan_hpc.errors import DataError, OutputExistsError
from mdgan_hpc.parallel import world
from mdgan_hpc.provenance import Fingerprints, provenance
from mdgan_hpc.results import load_results, save_results

ANALYSIS = "analysis.h5"


def prepare(
    config: ReportConfig, folder: Path, *, force: bool = False
) -> tuple[dict[str, Any], list[str]] | None:
    """Compute what a report shows, or take it from `folder` if nothing changed since.

    Returns
    -------
    (tree, lines) or None
        The result tree and the results in sentences on rank 0, None on the other ranks.

    Raises
    ------
    OutputExistsError
        If `folder` holds the report of other inputs and `force` is false.
    """
    communicator = world()
    key = fingerprint(config)
    kept = communicator.bcast(_kept(folder, key, force) if communicator.rank == 0 else None)
    if kept:
        tree: dict[str, Any] | None = (
            load_results(folder / ANALYSIS) if communicator.rank == 0 else None
        )
    else:
        files = (*config.md, *config.generated)
        with Fingerprints(files if communicator.rank == 0 else ()) as fingerprints:
            tree = compare(config, communicator)
            if tree is not None:
                tree["provenance"] = provenance(
                    config=asdict(config), inputs=fingerprints.result(), ranks=communicator.size
                )
        if tree is not None:
            tree["key"] = key
            tree["diffusion_table"] = _diffusion_table(tree)
            folder.mkdir(parents=True, exist_ok=True)
            save_results(folder / ANALYSIS, tree)
    return None if tree is None else (tree, sentences(tree))


def _kept(folder: Path, key: str, force: bool) -> bool:
    """Whether `folder` holds the analysis of the same inputs."""
    if not folder.exists() or force:
        return False
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / ANALYSIS).exists()):
        raise OutputExistsError(
            "exists already and is no report", where=folder, remedy="choose another path"
        )
    if not (folder / ANALYSIS).exists():
        return False
    try:
        same = load_results(folder / ANALYSIS).get("key") == key
    except DataError:
        same = False
    if not same:
        raise OutputExistsError(
            "holds the report of other inputs",
            where=folder,
            remedy="choose another path or use --force",
        )
    return True


def _diffusion_table(tree: Mapping[str, Any]) -> list[list[str]]:
    rows = [["", "D (Å²/ps)", "95 % interval", "D (cm²/s)", "fit window (ps)", "log-log slope"]]
    md, generated = tree["md"]["diffusion"], tree["generated"]["diffusion"]
    rows.append(["MD (linear extrapolation)", *diffusion_cells(md.get("total", md))])
    rows.append(["MD-GAN", *diffusion_cells(generated.get("total", generated))])
    if "window_of_md" in generated:
        rows.append(["MD-GAN, window of the MD", *diffusion_cells(generated["window_of_md"])])
    models = tree["generated"].get("models", {})
    if "ensemble" in models:
        rows.append(
            [
                f"MD-GAN, {models['ensemble']['n_models']:.0f} models",
                *ensemble_cells(models["ensemble"]),
            ]
        )
    for name, part in tree["baselines"].items():
        fitted = part["diffusion"]
        rows.append([name, *diffusion_cells(fitted.get("total", fitted))])
    return rows


def sentences(tree: Mapping[str, Any]) -> list[str]:
    """Return the results in sentences."""
    lines = []
    for name, part in (("MD", tree["md"]), ("MD-GAN", tree["generated"])):
        diffusion = part["diffusion"]
        if "refused" in diffusion:
            lines.append(f"D of {name}: {diffusion['refused']}")
        else:
            total = diffusion["total"]
            text = with_error(
                *(total[f"{k}_angstrom2_per_ps"] for k in ("d", "error", "low", "high"))
            )
            lines.append(f"D of {name} = {text}")
            if "collective" in diffusion:
                lines.append(f"{name}: {haven_line(diffusion['collective'])}")
    ensemble = tree["generated"].get("models", {}).get("ensemble")
    if ensemble:
        text = with_error(
            *(ensemble[f"{k}_angstrom2_per_ps"] for k in ("d", "error", "low", "high"))
        )
        lines.append(f"D over {ensemble['n_models']:.0f} MD-GAN models = {text}")
    else:
        lines.append(
            "The error of MD-GAN is that of the generated ions alone; the error that the training "
            "data leave needs models of bootstrap replicas (several --generated)."
        )
    ceiling = tree["ceiling"]
    lines.append(
        f"The MD data hold about {ceiling['n_effective']:.0f} effective hops of "
        f"{ceiling['hop_length']:.2g} A; by the rule of He et al. (2018) D is known from them to "
        f"about {100 * ceiling['relative_error']:.0f} %, however many ions are generated."
    )
    ratio = tree["msd_ratio"]
    lines.append(
        f"MSD of MD-GAN over MD, from {ratio['lag_ps'][0]:.3g} to {ratio['lag_ps'][-1]:.3g} ps: "
        f"worst ratio {ratio['worst']:.3f} at {ratio['worst_lag_ps']:.3g} ps"
    )
    fidelity = tree["fidelity"]["MD-GAN"]
    z = ", ".join(f"{v:.1f}" for v in fidelity["drift_z"])
    lines.append(
        f"Fidelity (1: as far from MD as another MD run): median {fidelity['median']:.2f}, worst "
        f"{fidelity['worst']:.2f} ({fidelity['worst_observable']}); in groups the size of "
        f"an MD run median {fidelity['run_median']:.2f}; drift z {z}"
    )
    return lines
