"""Sites and jumps in lines and tables."""

import math
from collections.abc import Sequence

import numpy as np

from mdgan_hpc.analysis.sites.estimate import FEW, most_events
from mdgan_hpc.analysis.sites.matching import NOT_SEEN, same_kinds
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
    if found.n_models > 1:
        out.append(f"  errors hold the spread over {found.n_models} models: data and training")
    out += [_of_kind(found, kind) for kind in range(int(s.kind.max()) + 1)]
    if not found.given:
        out.append("  a place that ions only pass through is no maximum: give it by --sites")
    for i in range(min(len(k.begin), _SHOWN)):
        barrier = ""
        if k.barrier_ev is not None and k.barrier_error_ev is not None:
            barrier = f", barrier {measured(k.barrier_ev[i], k.barrier_error_ev[i])} eV"
        count = f"{k.count[i]:.0f} {'jump' if k.count[i] == 1 else 'jumps'}"
        out.append(
            f"  {k.names[i]} Å: {_rate(found, i)} /ps, {count}, "
            f"{_back('back', k.back[i], k.back_error[i])}{barrier}"
        )
    if len(k.begin) > _SHOWN:
        out.append(f"  and {len(k.begin) - _SHOWN} rarer kinds of jumps")
    return [*out, *(_of_jumps(found) if len(k.begin) else [_no_jumps(found)]), *_of_all(found)]


def _no_jumps(found: SitesResult) -> str:
    text = "No ion jumps: none gets from the core of one site into that of another"
    upper = found.jump_rate_upper_per_ps
    return text if upper is None else f"{text}; rate below {upper:.2g} /ps at 95 %"


def _of_kind(found: SitesResult, kind: int) -> str:
    s = found.sites
    of = s.kind == kind
    begin = f"  {names([kind])[0]} ({of.sum()} in the cell): "
    if not s.share[of].sum() > 0:
        return f"{begin}no ion gets there"
    time, error = s.residence_of(kind)
    residence = f"residence {measured(time, error)} ps" if math.isfinite(time) else "no ion leaves"
    energy = ""
    if s.free_energy_ev is not None and np.isfinite(s.free_energy_ev[of]).all():
        energy = f", free energy {s.free_energy_ev[of].mean():.3f} eV"
    return (
        f"{begin}{s.share[of].sum():.1%} of the time, {s.in_core[of].sum():.1%} in the core; "
        f"{residence}{energy}"
    )


def _back(word: str, value: float, error: float) -> str:
    """Return how often jumps lead back; no number where none has a follower."""
    if math.isfinite(value):
        return f"{word} {measured(value, error)}"
    return "none of them with a jump after it"


def _of_jumps(found: SitesResult) -> list[str]:
    back = _back("next one leads back with probability", found.back, found.back_error)
    out = [
        f"Jumps of an ion: {measured(found.jump_rate_per_ps, found.jump_rate_error_per_ps)} /ps of "
        f"{found.jump_length:.3g} Å; {back}"
    ]
    if found.correlation is not None:
        f = found.correlation
        out.append(
            f"Correlation factor {measured(f.value, f.error)} (from {f.jumps:.0f} to "
            f"{2 * f.jumps:.0f} jumps)"
        )
    else:
        out.append("Correlation factor: too few jumps")
    if found.chains is not None:
        c = found.chains
        jumps = measured(100 * c.jump_share, 100 * c.jump_share_error)
        charge = measured(100 * c.charge_share, 100 * c.charge_share_error)
        out.append(
            f"In chains (into the site that another ion leaves within {c.window_ps:.2g} ps): "
            f"{jumps} % of the jumps ({_by_chance(c.jump_chance, c.jump_chance_error)}), "
            f"{charge} % of the squared charge displacement "
            f"({_by_chance(c.charge_chance, c.charge_chance_error)})"
        )
    reach = found.graph.dimensions
    needed = int(np.argmax(reach == reach[-1])) + 1
    of = ", ".join(found.kinds.names[i] for i in found.graph.order[:needed][:_SHOWN])
    ways = f"{reach[-1]} {'direction' if reach[-1] == 1 else 'directions'}"
    out.append(f"The network leads through the crystal in {ways}, by {of}")
    return out


def _by_chance(value: float, error: float) -> str:
    return f"{measured(100 * value, 100 * error)} % by chance"


def _of_all(found: SitesResult) -> list[str]:
    if found.vibration is None:
        return []
    v = found.vibration
    return [
        f"Attempt frequency {v.attempt_frequency_per_ps:.3g} /ps, vibration amplitude "
        f"{v.amplitude:.3g} Å"
    ]


def side_by_side(md: SitesResult, generated: SitesResult, crystal: str) -> list[Table]:
    """Return the tables of MD and generated ions."""
    n = len(md.sites.kind)
    columns = ("", md.label, generated.label)
    both = (md, generated)
    rows = [
        [
            "Jump rate of an ion (1/ps)",
            *(_of_an_ion(f) for f in both),
        ],
        [
            "Jump length, rms (Å)",
            *(f"{f.jump_length:.3g}" if f.jump_length else _NONE for f in both),
        ],
        ["Back-jump probability", *(_m(f.back, f.back_error) for f in both)],
        ["Correlation factor", *(_factor(f) for f in both)],
        ["Attempt frequency (1/ps)", *(_swings(f) for f in both)],
        ["Jumps in chains (%)", *(_chains(f, "jump_share") for f in both)],
        ["Jumps in chains by chance (%)", *(_chains(f, "jump_chance") for f in both)],
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
        "it reaches the core of another site. Jumps are a chain where an ion moves into the site "
        "that another one leaves; by chance so many would be that jump as often and know nothing "
        f"of each other. ± is the standard error{_of_models(generated)}. The nearer both columns "
        "are to each other, the better.",
        columns,
        rows,
    )
    return [whole, _kinds(md, generated, columns)]


def _of_models(generated: SitesResult) -> str:
    """Return what errors of several models hold."""
    n = generated.n_models
    return f", of the {n} models their spread: what data and training leave open" * (n > 1)


def _kinds(md: SitesResult, generated: SitesResult, columns: Sequence[str]) -> Table:
    rows = []
    same = same_kinds(md, generated)
    for i, name in enumerate(md.kinds.names[:_SHOWN]):
        rows.append([f"{name} Å", _rate(md, i), _theirs(md, generated, i, same[i])])
    return Table(
        "Rates of the kinds of jumps (1/ps)",
        "Of an ion at a site of the first kind to one of the second, over all equivalent ways; the "
        "kinds are those of the MD, the most frequent first.",
        columns,
        rows or [["", "no jumps", ""]],
    )


def _m(value: float, error: float) -> str:
    return measured(value, error) if math.isfinite(value) else _NONE


#: In place of what follows from jumps, where there are none, or none with a jump after it.
_NONE = "too few jumps"


def _rate(found: SitesResult, kind: int) -> str:
    k = found.kinds
    text = _m(float(k.rate_per_ps[kind]), float(k.rate_error_per_ps[kind]))
    if k.rate_upper_per_ps is not None and k.count[kind] < FEW:
        return f"{text} (below {k.rate_upper_per_ps[kind]:.2g} at 95 %)"
    return text


def _of_an_ion(found: SitesResult) -> str:
    """Return the rate of all jumps of an ion, 1/ps; without a jump its upper limit."""
    upper = found.jump_rate_upper_per_ps
    if upper is not None and not found.jump_rate_per_ps:
        return f"below {upper:.2g} at 95 %"
    return _m(found.jump_rate_per_ps, found.jump_rate_error_per_ps)


def _theirs(md: SitesResult, generated: SitesResult, kind: int, match: int | str) -> str:
    """Return the rate of the same kind of jump of generated ions, or its upper limit."""
    if isinstance(match, int):
        return _rate(generated, match)
    if match != NOT_SEEN:
        return match
    mine = generated.sites.kind == md.kinds.begin[kind]
    time = float(generated.sites.share[mine].sum()) * generated.ions_time_ps
    return f"below {most_events(0) / time:.2g} at 95 %" if time > 0 else "none seen"


def _factor(found: SitesResult) -> str:
    f = found.correlation
    return "too few jumps" if f is None else _m(f.value, f.error)


def _swings(found: SitesResult) -> str:
    return "" if found.vibration is None else f"{found.vibration.attempt_frequency_per_ps:.3g}"


def _chains(found: SitesResult, name: str) -> str:
    c = found.chains
    if c is None:
        return "ions do not see each other"
    return _m(100 * getattr(c, name), 100 * getattr(c, f"{name}_error"))


def _share(found: SitesResult, kind: int) -> str:
    share, error = found.sites.kind_share[kind], found.sites.kind_share_error[kind]
    return _m(100 * float(share), 100 * float(error))


def _residence(found: SitesResult, kind: int) -> str:
    time, error = found.sites.residence_of(kind)
    return measured(time, error) if math.isfinite(time) else "no ion leaves"
