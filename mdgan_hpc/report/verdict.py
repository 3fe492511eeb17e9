"""What a reader must know first: may the result be believed, and which number is to be quoted?"""

from mdgan_hpc.analysis.fidelity.critic import CriticResult
from mdgan_hpc.report.numbers import between, measured
from mdgan_hpc.report.results import Comparison
from mdgan_hpc.report.text import Interval, ensemble_lines, short
from mdgan_hpc.verdict import verdict_line

#: Relative error of D above which the data are called too few.
_TOO_FEW = 0.5


def verdict_lines(found: Comparison) -> list[str]:
    """Return the verdict on a comparison: the model, the data, D, and which D to quote."""
    lines = [verdict_line(found.verdict)]
    if found.verdict is not None and not found.verdict.is_poor:
        lines += [f"Doubtful: {doubt}" for doubt in found.verdict.doubts]
    return [
        *lines,
        *critic_lines(found.critic),
        _data(found),
        *_inside(found),
        *ensemble_lines(found.generated.diffusion),
        _to_quote(found),
    ]


def critic_lines(found: CriticResult | None) -> list[str]:
    """Return what critics told, if there were any."""
    if found is None:
        return []
    if found.refused:
        return [f"A critic as a judge: {found.refused}."]
    spans = [f"{span:.2g}" for span in found.span_ps]
    told = ", ".join(
        f"{auc:.2f} ± {error:.2f} ({span} ps)"
        for auc, error, span in zip(found.auc, found.error, spans, strict=True)
    )
    beside = ""
    if found.md_auc is not None and found.md_error is not None:
        both = zip(found.md_auc, found.md_error, strict=True)
        each = ", ".join(f"{auc:.2f} ± {error:.2f}" for auc, error in both)
        beside = f"; one MD run from the others: {each}"
    cells = ""
    if found.cell_auc is not None and found.cell_error is not None:
        cells = (
            f". From all ions of a cell together over {spans[-1]} ps: {found.cell_auc[-1]:.2f} ± "
            f"{found.cell_error[-1]:.2f}"
        )
    return [
        "A critic trained to tell generated from MD windows, judged on a run it never saw, has an "
        f"AUC (0.5: it cannot tell; 1: it always can) of {told}{beside}{cells}."
    ]


def grade(found: Comparison) -> str:
    """Return the verdict on the model in one word: good, doubtful, poor or unknown."""
    verdict = found.verdict
    if verdict is None:
        return "unknown"
    return "poor" if verdict.is_poor else "doubtful" if verdict.doubts else "good"


def _data(found: Comparison) -> str:
    """Tell whether the MD data are enough."""
    relative, hops = found.ceiling.relative_error, found.ceiling.n_effective
    enough = "are enough for a D" if relative <= _TOO_FEW else "are too few for a D"
    shown = ""
    if found.md.diffusion.total is None:
        enough = "do not show diffusion themselves"
        shown = f" ({found.md.diffusion.refused})"
    return (
        f"The MD data {enough}{shown}: about {hops:.0f} effective hops, which tell D to about "
        f"{100 * relative:.0f} % by a rule of thumb (He et al. 2018)."
    )


def _inside(found: Comparison) -> list[str]:
    """Tell whether the D of the model lies where the MD allows it."""
    md, made = found.md.diffusion.total, best(found)
    if md is None or made is None:
        return []
    low, high = md.low_angstrom2_per_ps, md.high_angstrom2_per_ps
    d = made.d_angstrom2_per_ps
    where = "inside" if low <= d <= high else "outside"
    return [
        f"D of {found.generated.label}, {measured(d, made.error_angstrom2_per_ps)} Å²/ps, lies "
        f"{where} the 95 % interval of the fit to the MD itself, "
        f"{between(low, high, md.error_angstrom2_per_ps)}."
    ]


def best(found: Comparison) -> Interval | None:
    """Return D of the generated trajectories: over the models, where there are several."""
    diffusion = found.generated.diffusion
    return diffusion.ensemble or diffusion.total


def _to_quote(found: Comparison) -> str:
    """Tell which D to quote, and why."""
    md, verdict = found.md.diffusion.total, found.verdict
    models = found.generated.ensemble
    of_md = "none" if md is None else f"that of the fit to the MD, {short(md)}"
    if verdict is not None and verdict.is_poor:
        return f"Quote: {of_md}, because the model does not move as the MD does."
    if found.generated.diffusion.total is None:
        return f"Quote: {of_md}, because the generated motion gives none."
    if models is None:
        return (
            f"Quote: {of_md}, because a single model has no interval of the data; models of "
            "bootstrap replicas give one (mdgan-train --replicas 8)."
        )
    if md is None:
        return (
            f"Quote: that of the models, {short(models)}, as an extrapolation: the MD itself does "
            "not show diffusion."
        )
    widths = [i.high_angstrom2_per_ps - i.low_angstrom2_per_ps for i in (models, md)]
    if widths[0] <= widths[1]:
        return (
            f"Quote: that of the models, {short(models)}, because its interval holds the scatter "
            "of data and training and is narrower than that of the fit to the MD."
        )
    return (
        f"Quote: {of_md}, because its interval is narrower than that of {models.n_models} models; "
        "more replicas, or a longer training, narrow theirs."
    )
