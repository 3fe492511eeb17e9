"""Figures of sites and jumps: the network in the cell, rates, and how jumps know of each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from mdgan_hpc.analysis.sites.matching import same_kinds
from mdgan_hpc.analysis.sites.network import names
from mdgan_hpc.analysis.sites.results import SitesResult
from mdgan_hpc.plotting import GENERATED, MD
from mdgan_hpc.report.figures.panels import Drawn, draw
from mdgan_hpc.report.numbers import measured

#: A result and its style.
Side = tuple[SitesResult, dict[str, Any]]
#: Kinds of jumps that are drawn.
_SHOWN = 6
#: Colours of the kinds of sites, and of the kinds of jumps.
_SITE_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "0.6")
#: Coordinates across and up in the two views.
_VIEWS = ((0, 1), (0, 2))


def draw_alone(found: SitesResult, folder: Path) -> list[Drawn]:
    """Draw the figures of one result into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return draw_jumps([(found, GENERATED if found.verdict is not None else MD)], folder)


def draw_both(md: SitesResult, generated: SitesResult, folder: Path) -> list[Drawn]:
    """Draw MD beside generated ions into `folder`."""
    return draw_jumps([(md, MD), (generated, GENERATED)], folder)


def draw_jumps(sides: Sequence[Side], folder: Path) -> list[Drawn]:
    """Draw those figures for which there are jumps."""
    figures = [site_network(sides, folder)]
    if any(len(found.kinds.begin) for found, _ in sides):
        figures.append(jump_rates(sides, folder))
    if any(found.correlation is not None for found, _ in sides):
        figures.append(correlation(sides, folder))
    return figures


def site_network(sides: Sequence[Side], folder: Path) -> Drawn:
    """Sites in the cell, and the jumps between them."""
    cell = next((f.cell for f, _ in sides if f.cell is not None), sides[0][0].lattice)
    busiest = max(float(_rates(found).max(initial=0)) for found, _ in sides) or 1.0
    corners = np.array(list(product((0, 1), repeat=3))) @ cell
    shapes = [np.ptp(corners[:, j]) / np.ptp(corners[:, i]) for i, j in _VIEWS]
    heights = [min(0.9 + 2.8 * float(shape), 5.0) for shape in shapes]  # words, and the cell
    networks = [_network(found, cell, busiest) for found, _ in sides]

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        for ax, ((i, j), index) in zip(axes, product(_VIEWS, range(len(sides))), strict=True):
            _outline(ax, cell, i, j)
            _draw_network(ax, networks[index], (i, j))
            ax.set_xlabel(f"{'xyz'[i]} (Å)")
            ax.set_ylabel(f"{'xyz'[j]} (Å)")
            ax.set_aspect("equal")
            ax.margins(0.06)
            ax.set_title(sides[index][0].label)
        handles = [
            _dot(axes[0], _SITE_COLOURS[k % len(_SITE_COLOURS)])
            for k in range(int(sides[0][0].sites.kind.max()) + 1)
        ]
        fig.legend(
            handles, names(range(len(handles))), loc="outside upper right", ncols=len(handles)
        )

    return draw(
        plot,
        folder,
        "site_network",
        "Sites and jumps in the cell",
        "Seen along z (above) and along y (below). The area of a dot goes with the share of the "
        "time at the site, the width of a line with the rate of the jumps along it; lines that "
        "leave the cell end at its border. The cell is outlined.",
        panels=2 * len(sides),
        columns=len(sides),
        panel=(3.5, float(np.mean(heights))),
        heights=np.repeat(heights, len(sides)).tolist(),
    )


def _dot(ax: Any, colour: str) -> Any:
    return ax.plot([], [], "o", color=colour, mec="black", mew=0.5)[0]


def _rates(found: SitesResult) -> np.ndarray:
    """Return the rate of each jump of the graph, 1/ps."""
    return np.asarray((found.kinds.rate_per_ps / found.kinds.ways)[found.graph.kind])


@dataclass(frozen=True)
class _Network:
    """Lines [L, 2, 3] and their widths, dots [D, 3] with their sizes and kinds, in a cell."""

    lines: np.ndarray
    widths: np.ndarray
    dots: np.ndarray
    sizes: np.ndarray
    kinds: np.ndarray


def _network(found: SitesResult, cell: np.ndarray, busiest: float) -> _Network:
    """Return what is drawn: all copies of the lattice's cell in that of the simulation."""
    shifts, inverse = _copies(found.lattice, cell), np.linalg.inv(cell)
    graph, table, rates = found.graph, found.sites, _rates(found)
    shown = np.flatnonzero(rates >= 0.02 * busiest)  # a thinner line would not be seen
    starts = table.position[graph.begin[shown]]
    ways = table.position[graph.end[shown]] + graph.shift[shown] @ found.lattice - starts
    every = (starts[:, None] + shifts).reshape(-1, 3)
    inside = np.flatnonzero(_inside(every @ inverse))
    which = inside // len(shifts)
    ways = ways[which]
    ways = ways * _share_inside(every[inside] @ inverse, ways @ inverse)[:, None]
    dots = (table.position[:, None] + shifts).reshape(-1, 3)
    held = np.flatnonzero(_inside(dots @ inverse))
    site = held // len(shifts)
    return _Network(
        np.stack([every[inside], every[inside] + ways], 1),
        0.3 + 1.7 * np.sqrt(rates[shown][which] / busiest),
        dots[held],
        8 + 60 * table.share[site] / (float(table.share.max()) or 1.0),
        table.kind[site].astype(int),
    )


def _draw_network(ax: Any, network: _Network, view: tuple[int, int]) -> None:
    from matplotlib.collections import LineCollection

    # What lies behind another line or dot is not drawn.
    lines = network.lines[..., list(view)]
    lines = np.where(np.any(lines[:, :1] > lines[:, 1:], 2, keepdims=True), lines[:, ::-1], lines)
    front = _first_of_equal(lines.reshape(-1, 4), network.widths)
    ax.add_collection(
        LineCollection(
            list(lines[front]), linewidths=network.widths[front], colors="0.55", zorder=1
        )
    )
    dots = network.dots[:, list(view)]
    front = _first_of_equal(dots, network.sizes)
    ax.scatter(
        *dots[front].T,
        s=network.sizes[front],
        color=[_SITE_COLOURS[k % len(_SITE_COLOURS)] for k in network.kinds[front]],
        edgecolors="black",
        linewidths=0.5,
        zorder=2,
        clip_on=False,
    )


def _first_of_equal(rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return the numbers of rows [n, k] that differ by a tenth at least, the largest of each."""
    order = np.argsort(-sizes, kind="stable")
    return np.asarray(order[np.unique(np.round(rows[order], 1), axis=0, return_index=True)[1]])


def _copies(lattice: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return translations of the lattice that reach everywhere into the cell, [n, 3]."""
    corners = np.array(list(product((0, 1), repeat=3))) @ cell @ np.linalg.inv(lattice)
    low, high = np.floor(corners.min(0)).astype(int) - 2, np.ceil(corners.max(0)).astype(int) + 2
    ranges = (np.arange(a, b + 1) for a, b in zip(low, high, strict=True))
    return np.asarray(np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3) @ lattice)


def _inside(fraction: np.ndarray) -> np.ndarray:
    return np.asarray(((fraction > -1e-6) & (fraction < 1 + 1e-6)).all(1))


def _share_inside(start: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Return the share of each way [n, 3] that is in the cell, from its start on; fractions."""
    with np.errstate(divide="ignore", invalid="ignore"):
        limits = np.where(way > 0, (1 - start) / way, np.where(way < 0, -start / way, np.inf))
    return np.asarray(np.clip(limits.min(1), 0, 1))


def _outline(ax: Any, cell: np.ndarray, i: int, j: int) -> None:
    for axis in range(3):
        others = [cell[k] for k in range(3) if k != axis]
        for a, b in product((0, 1), repeat=2):
            start = a * others[0] + b * others[1]
            end = start + cell[axis]
            ax.plot([start[i], end[i]], [start[j], end[j]], color="0.4", lw=0.8, zorder=0)


def jump_rates(sides: Sequence[Side], folder: Path) -> Drawn:
    """Rates and back-jump probabilities of the kinds of jumps."""
    first = sides[0][0]
    shown = min(len(first.kinds.begin), _SHOWN)

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        drawn: list[float] = []
        for number, (found, style) in enumerate(sides):
            rows, index = [], []
            same = same_kinds(first, found)
            for k in range(shown):
                other = k if found is first else same[k]
                if isinstance(other, int):
                    rows.append(k + 0.25 * (number - (len(sides) - 1) / 2))
                    index.append(other)
            drawn += found.kinds.rate_per_ps[index].tolist()
            for ax, value, error in (
                (axes[0], found.kinds.rate_per_ps, found.kinds.rate_error_per_ps),
                (axes[1], found.kinds.back, found.kinds.back_error),
            ):
                ax.errorbar(
                    value[index],
                    rows,
                    xerr=np.nan_to_num(error[index]),
                    fmt="o" if number == 0 else "s",
                    ms=4,
                    capsize=3,
                    color=style["color"],
                    label=found.label,
                )
        for ax in axes:
            ax.set_yticks(range(shown), [f"{name} Å" for name in first.kinds.names[:shown]])
            ax.set_ylim(shown - 0.5, -0.5)
        axes[0].set_xlabel("rate (1/ps)")
        _set_scale(axes[0], np.array(drawn))
        axes[1].set_xlabel("back-jump probability")
        axes[1].set_xlim(0, 1)
        if len(sides) > 1:
            axes[0].legend()

    return draw(
        plot,
        folder,
        "jump_rates",
        "Rates of the kinds of jumps, and how many lead back",
        "Of an ion at a site of the first kind to one of the second, with the length of the jump; "
        "back-jump probability: that the next jump leads back. Bars are standard errors.",
        panels=2,
        panel=(3.5, 1.4 + 0.35 * shown),
    )


def _set_scale(ax: Any, rates: np.ndarray) -> None:
    """Choose the scale of the rates: rare kinds would all lie at zero of a linear one."""
    seen = rates[rates > 0]
    if len(seen) and seen.max() > 10 * seen.min():
        ax.set_xscale("log")
    else:
        ax.set_xlim(0, 1.15 * float(seen.max(initial=0)) or None)


def correlation(sides: Sequence[Side], folder: Path) -> Drawn:
    """Growth of the squared displacement with the number of jumps."""

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        (ax,) = axes
        for found, style in sides:
            f = found.correlation
            if f is None:
                continue
            ax.errorbar(
                f.lag,
                f.growth,
                yerr=f.growth_error,
                fmt="o",
                ms=4,
                capsize=3,
                color=style["color"],
                label=f"{found.label}: f = {measured(f.value, f.error)}",
            )
            ax.axhline(f.value, lw=0.8, color=style["color"], linestyle=style["linestyle"])
        ax.axhline(1, color="black", lw=0.5)
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_ylim(bottom=0)
        ax.set_xlabel("number of jumps n")
        ax.set_ylabel("growth of ⟨R²⟩ from n to 2n jumps,\nover n a²")
        ax.legend()

    return draw(
        plot,
        folder,
        "correlation_factor",
        "Correlation factor of the jumps",
        "One where jumps know nothing of those before; below one where ions jump back. The line "
        "is the value that is quoted.",
        panel=(5.0, 3.2),
    )
