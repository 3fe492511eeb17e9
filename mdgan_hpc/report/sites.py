"""Sites and jumps in lines and tables."""

import math
from collections.abc import Sequence

import numpy as np

from mdgan_hpc.analysis.sites.network import names
from mdgan_hpc.analysis.sites.results import SitesResult
from mdgan_hpc.report.numbers import measured
from mdgan_hpc.report.page import Table
from mdgan_hpc.verdict import verdict_line

#: Kinds of jumps that are shown; the file holds all.
_SHOWN = 6


def lines(found: SitesResult) -> list[str]:
    """Return what is printed of a result."""
    s, k = found.sites, found.kinds
    where = f"given by {found.given}" if found.given else f"found ({found.crystal})"
    out = [] if found.verdict is None else [verdict_line(found.verdict)]
    out.append(
        f"{len(s.kind)} {'site' if len(s.kind) == 1 else 'sites'} {where}, {found.n_ions} ions, "
        f"{found.ions_time_ps:.4g} ps of all ions together"
    )
    for kind in range(int(s.kind.max()) + 1):
        of = s.kind == kind
        energy = ""
        if s.free_energy_ev is not None:
            energy = f", free energy {s.free_energy_ev[of].mean():.3f} eV"
        residence = s.residence_ps[of]
        out.append(
            f"  {names([kind])[0]} ({of.sum()} in the cell): {s.share[of].sum():.1%} of the time, "
            f"{s.in_core[of].sum():.1%} in the core; residence "
            f"{measured(residence.mean(), _together(s.residence_error_ps[of]))} ps{energy}"
        )
    if not found.given:
        out.append("  a place that ions only pass through is no maximum: give it by --sites")
    for i in range(min(len(k.begin), _SHOWN)):
        barrier = ""
        if k.barrier_ev is not None and k.barrier_error_ev is not None:
            barrier = f", barrier {measured(k.barrier_ev[i], k.barrier_error_ev[i])} eV"
        out.append(
            f"  {k.names[i]} Å: {measured(k.rate_per_ps[i], k.rate_error_per_ps[i])} /ps, "
            f"{k.count[i]:.0f} jumps, back {measured(k.back[i], k.back_error[i])}{barrier}"
        )
    if len(k.begin) > _SHOWN:
        out.append(f"  and {len(k.begin) - _SHOWN} rarer kinds of jumps")
    return [*out, *_of_all(found)]


def _together(errors: np.ndarray) -> float:
    """Return the error of a mean of values with these errors."""
    return float(np.sqrt((errors**2).sum()) / len(errors))


def _of_all(found: SitesResult) -> list[str]:
    out = [
        f"Jumps of an ion: {measured(found.jump_rate_per_ps, found.jump_rate_error_per_ps)} /ps of "
        f"{found.jump_length:.3g} Å; next one leads back with probability "
        f"{measured(found.back, found.back_error)}"
    ]
    if found.correlation is not None:
        f = found.correlation
        out.append(
            f"Correlation factor {measured(f.value, f.error)} (from {f.jumps:.0f} to "
            f"{2 * f.jumps:.0f} jumps)"
        )
    else:
        out.append("Correlation factor: too few jumps")
    if found.vibration is not None:
        v = found.vibration
        out.append(
            f"Attempt frequency {v.attempt_frequency_per_ps:.3g} /ps, vibration amplitude "
            f"{v.amplitude:.3g} Å"
        )
    if found.chains is not None:
        c = found.chains
        out.append(
            f"In chains (into the site that another ion leaves within {c.window_ps:.2g} ps): "
            f"{_percent(c.jump_share, c.jump_share_error)} of the jumps, "
            f"{_percent(c.charge_share, c.charge_share_error)} of the squared charge displacement"
        )
    reach = found.graph.dimensions
    if len(reach):
        needed = int(np.argmax(reach == reach[-1])) + 1
        of = ", ".join(found.kinds.names[i] for i in found.graph.order[:needed][:_SHOWN])
        out.append(f"The network leads through the crystal in {reach[-1]} directions, by {of}")
    return out


def _percent(value: float, error: float) -> str:
    return f"{measured(100 * value, 100 * error)} %"


def side_by_side(md: SitesResult, generated: SitesResult, crystal: str) -> list[Table]:
    """Return the tables of MD and generated ions."""
    n = len(md.sites.kind)
    columns = ("", md.label, generated.label)
    both = (md, generated)
    rows = [
        [
            "Jump rate of an ion (1/ps)",
            *(_m(f.jump_rate_per_ps, f.jump_rate_error_per_ps) for f in both),
        ],
        ["Jump length, rms (Å)", *(f"{f.jump_length:.3g}" for f in both)],
        ["Back-jump probability", *(_m(f.back, f.back_error) for f in both)],
        ["Correlation factor", *(_factor(f) for f in both)],
        ["Attempt frequency (1/ps)", *(_swings(f) for f in both)],
        ["Jumps in chains (%)", *(_chains(f) for f in both)],
        ["Jumps seen", *(f"{f.kinds.count.sum():.0f}" for f in both)],
    ]
    for kind in range(int(md.sites.kind.max()) + 1):
        name = names([kind])[0]
        if (md.sites.kind != kind).any():
            rows.append([f"Share of the time at {name} (%)", *(_share(f, kind) for f in both)])
        rows.append([f"Residence at {name} (ps)", *(_residence(f, kind) for f in both)])
    whole = Table(
        "Sites and jumps",
        f"{n} {'site' if n == 1 else 'sites'} in the primitive cell ({crystal}). An ion jumps when "
        "it reaches the core of another site; ± is the standard error. The nearer both columns are "
        "to each other, the better.",
        columns,
        rows,
    )
    return [whole, _kinds(md, generated, columns)]


def _kinds(md: SitesResult, generated: SitesResult, columns: Sequence[str]) -> Table:
    rows = []
    for i, name in enumerate(md.kinds.names[:_SHOWN]):
        other = matching(md, generated, i)
        theirs = "" if other is None else _rate(generated, other)
        rows.append([f"{name} Å", _rate(md, i), theirs or "none seen"])
    return Table(
        "Rates of the kinds of jumps (1/ps)",
        "Of an ion at a site of the first kind to one of the second, over all equivalent ways; the "
        "kinds are those of the MD, the most frequent first.",
        columns,
        rows or [["", "no jumps", ""]],
    )


def matching(one: SitesResult, other: SitesResult, kind: int) -> int | None:
    """Return the kind of jump of another result with the same sites, by ends and length."""
    a, b = one.kinds, other.kinds
    same = (b.begin == a.begin[kind]) & (b.end == a.end[kind])
    same &= np.abs(b.length - a.length[kind]) < 0.05
    return int(np.argmax(same)) if same.any() else None


def _m(value: float, error: float) -> str:
    return measured(value, error) if math.isfinite(value) else ""


def _rate(found: SitesResult, kind: int) -> str:
    return _m(float(found.kinds.rate_per_ps[kind]), float(found.kinds.rate_error_per_ps[kind]))


def _factor(found: SitesResult) -> str:
    f = found.correlation
    return "too few jumps" if f is None else _m(f.value, f.error)


def _swings(found: SitesResult) -> str:
    return "" if found.vibration is None else f"{found.vibration.attempt_frequency_per_ps:.3g}"


def _chains(found: SitesResult) -> str:
    c = found.chains
    return (
        "ions do not see each other"
        if c is None
        else _m(100 * c.jump_share, 100 * c.jump_share_error)
    )


def _share(found: SitesResult, kind: int) -> str:
    of = found.sites.kind == kind
    error = float(np.sqrt((found.sites.share_error[of] ** 2).sum()))
    return _m(100 * float(found.sites.share[of].sum()), 100 * error)


def _residence(found: SitesResult, kind: int) -> str:
    of = found.sites.kind == kind
    return _m(
        float(found.sites.residence_ps[of].mean()), _together(found.sites.residence_error_ps[of])
    )
