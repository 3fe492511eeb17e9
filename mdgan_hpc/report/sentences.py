"""The results of a report in sentences."""

from mdgan_hpc.analysis.fidelity import FidelityResult
from mdgan_hpc.report.results import Comparison, Side
from mdgan_hpc.report.text import green_kubo_line, haven_line, short, tensor_line, with_error
from mdgan_hpc.report.verdict import verdict_lines


def sentences(found: Comparison) -> list[str]:
    """Return the verdict and the results in sentences."""
    return [*verdict_lines(found), *results_in_short(found)]


def results_in_short(found: Comparison) -> list[str]:
    """Return the results in sentences."""
    name = found.generated.label
    lines = [*_coefficient(found.md), *_coefficient(found.generated)]
    if found.generated.diffusion.total is not None:
        lines.append(
            f"The error of {name} is that of the generated ions alone"
            + (", all models as one." if found.generated.ensemble else ".")
        )
    lines += _sizes(found)
    ratio = found.msd_ratio
    lines.append(
        f"MSD of {name} over MD, from {ratio.lag_ps[0]:.3g} to {ratio.lag_ps[-1]:.3g} ps: "
        f"worst ratio {ratio.worst:.3f} at {ratio.worst_lag_ps:.3g} ps"
    )
    lines += [_fidelity(found.fidelity[name]), *_too_close(found.fidelity[name])]
    if found.sites is None:
        lines.append(f"Sites are not compared: the framework of the MD is {found.crystal}.")
    return lines


def _sizes(found: Comparison) -> list[str]:
    """Return D in cells of all sizes side by side, where there are several."""
    if not found.other_cells:
        return []
    sides = {found.ions_seen: found.generated, **found.other_cells}
    totals = {ions: side.diffusion.total for ions, side in sides.items()}
    told = [f"{ions}: {'none' if d is None else short(d)}" for ions, d in totals.items()]
    return [
        f"D of {found.generated.label} against the size of the cell: {'; '.join(told)}",
        "All else here is of the cell nearest to that of the MD in size.",
    ]


def _coefficient(side: Side) -> list[str]:
    diffusion = side.diffusion
    if diffusion.total is None:
        return [f"D of {side.label}: {diffusion.refused}."]
    lines = [f"D of {side.label} = {with_error(diffusion.total)}"]
    if diffusion.tensor is not None:
        lines.append(f"{side.label}: {tensor_line(diffusion.tensor)}")
    if diffusion.collective is not None:
        lines.append(f"{side.label}: {haven_line(diffusion.collective)}")
    if diffusion.green_kubo is not None:
        lines.append(f"{side.label}: {green_kubo_line(diffusion.green_kubo)}")
    return lines


def _too_close(result: FidelityResult) -> list[str]:
    """Return how many ions come closer to another than any of the MD does."""
    if not result.too_close or result.closest_angstrom is None:
        return []
    return [
        f"At a time {100 * result.too_close:.2g} % of the generated ions are closer to another "
        f"than any ion of the MD comes ({result.closest_angstrom:.2f} Å)."
    ]


def _fidelity(result: FidelityResult) -> str:
    worst, ratio = result.worst
    z = ", ".join(f"{v:.1f}" for v in result.drift_z)
    return (
        f"Fidelity (1: as far from MD as another MD run): median {result.median:.2f}, worst "
        f"{ratio:.2f} ({worst}); in groups the size of an MD run median "
        f"{result.run_median:.2f}; drift z {z}"
    )
