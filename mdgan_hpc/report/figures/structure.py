"""Figures of where the ions are: paths in the cell, densities, radial distribution."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from mdgan_hpc.analysis.sites.density import DensitySlices
from mdgan_hpc.plotting import DENSITY_MAP
from mdgan_hpc.report.figures.curves import band, note, pair
from mdgan_hpc.report.figures.panels import Drawn, draw
from mdgan_hpc.report.results import Comparison, Pairs

#: Coordinates across and up in the two views of the paths.
_VIEWS = ((0, 1), (0, 2))
#: Side of a pixel of the density, Angstrom.
_PIXEL = 0.1


def draw_structure(found: Comparison, folder: Path) -> list[Drawn]:
    """Draw those that there are into `folder`."""
    figures = [ion_paths(found, folder)]
    if found.density is not None:
        figures.append(density(found, found.density, folder))
    if found.pairs is not None:
        figures.append(radial_distribution(found, found.pairs, folder))
    return figures


def ion_paths(found: Comparison, folder: Path) -> Drawn:
    """Ion paths over about 1 ps, MD beside generated, seen along z and along y."""
    sides = [(s, style) for _, s, style in pair(found) if s.paths is not None]
    cell = found.system.cell
    positions = [_from_the_cell(s.paths.position, cell) for s, _ in sides if s.paths]
    placed = found.sites is not None or found.pairs is not None
    if not placed and len(positions) > 1:
        start = positions[0][:1, : positions[1].shape[1]]
        positions[1] = positions[1] - positions[1][:1] + start
    corners = None if cell is None else np.array(list(product((0, 1), repeat=3))) @ cell
    centre, half = _limits(positions, corners)
    shapes = [float(half[:, j].max() / half[:, i].max()) for i, j in _VIEWS]

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        for ax, ((i, j), index) in zip(axes, product(_VIEWS, range(len(sides))), strict=True):
            side, style = sides[index]
            x = positions[index]
            for ion in range(x.shape[1]):
                ax.plot(x[:, ion, i], x[:, ion, j], color=style["color"], lw=0.5)
            ax.plot(x[0, :, i], x[0, :, j], ".", color="black", ms=3)
            if cell is not None:
                _outline(ax, cell, i, j)
            for limit, k in ((ax.set_xlim, i), (ax.set_ylim, j)):
                limit(centre[index, k] - half[0, k], centre[index, k] + half[0, k])
            ax.set_xlabel(f"{'xyz'[i]} (Å)")
            ax.set_ylabel(f"{'xyz'[j]} (Å)")
            ax.set_aspect("equal")
            ax.set_title(f"{side.label}: {x.shape[1]} ions")

    span = 0.0 if found.md.paths is None else found.md.paths.time_ps[-1]
    where = ""
    if cell is not None:
        where = " Each ion starts inside the cell, which is outlined, and its path is not cut."
    if not placed:
        where += (
            f" {found.generated.label} knows of no places in the cell: its ions are drawn from "
            "where those of the MD start."
        )
    return draw(
        plot,
        folder,
        "ion_paths",
        f"Paths of the ions over {span:.2g} ps",
        f"Seen along z (above) and along y (below), at one scale; dots: where they start.{where}",
        panels=2 * len(sides),
        columns=len(sides),
        panel=(3.5, min(0.7 + 2.8 * float(np.mean(shapes)), 4.5)),
    )


def _from_the_cell(position: np.ndarray, cell: np.ndarray | None) -> np.ndarray:
    """Move the path of each ion [T, N, 3] by whole cells so that it starts in the first one."""
    if cell is None:
        return position
    return np.asarray(position - np.floor(position[0] @ np.linalg.inv(cell)) @ cell)


def _limits(
    positions: Sequence[np.ndarray], corners: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return centres [S, 3] and half widths [1, 3] that show all, equal on both sides.

    In a cell both have its centre; without one each is shown about its own middle.
    """
    if corners is not None:
        positions = [np.concatenate([x.reshape(-1, 3), corners]) for x in positions]
    low = np.array([x.reshape(-1, 3).min(0) for x in positions])
    high = np.array([x.reshape(-1, 3).max(0) for x in positions])
    if corners is not None:
        low, high = np.broadcast_to(low.min(0), low.shape), np.broadcast_to(high.max(0), low.shape)
    half = 0.52 * (high - low).max(0, keepdims=True)
    return (low + high) / 2, np.maximum(half, 1e-3)  # ions that stand still


def _outline(ax: Any, cell: np.ndarray, i: int, j: int) -> None:
    """Draw the twelve edges of a cell, seen along the third axis."""
    for axis in range(3):
        others = [cell[k] for k in range(3) if k != axis]
        for a, b in product((0, 1), repeat=2):
            start = a * others[0] + b * others[1]
            end = start + cell[axis]
            ax.plot([start[i], end[i]], [start[j], end[j]], color="0.4", lw=0.8, zorder=0)


def density(found: Comparison, part: DensitySlices, folder: Path) -> Drawn:
    """Density of the ions in one layer of the cell."""
    top = max(float(part.md.max()), float(part.generated.max()))
    shown = ((part.md, found.md.label), (part.generated, found.generated.label))
    pictures = [square_pixels(part, values) for values, _ in shown]
    shape = np.ptp(part.y) / np.ptp(part.x)
    extent = (part.x.min(), part.x.max(), part.y.min(), part.y.max())
    outline = [(0, 0), (-1, 0), (-1, -1), (0, -1), (0, 0)]

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        from matplotlib.colors import PowerNorm

        for ax, picture, (_, name) in zip(axes, pictures, shown, strict=True):
            image = ax.imshow(
                picture,
                origin="lower",
                extent=extent,
                interpolation="nearest",
                cmap=DENSITY_MAP,
                norm=PowerNorm(0.5, 0, top),  # shows the paths between the sites as well
            )
            ax.plot([part.x[k] for k in outline], [part.y[k] for k in outline], color="0.4", lw=0.8)
            ax.set_title(name)
            ax.set_xlabel("along a (Å)")
            ax.set_ylabel("across a (Å)")
        fig.colorbar(image, ax=list(axes), label="density / mean density", shrink=0.9)

    # Long cells one above the other, square ones side by side: either way as large as the page.
    wide, small = shape < 0.6, 0.9 + 2.7 * shape
    return draw(
        plot,
        folder,
        "density",
        "Density of the ions in one layer of the cell",
        f"Layer {part.thickness:.2g} Å thick at {part.layer:.3g} Å along the normal of the a-b "
        "plane, averaged over the translations of the crystal; colours go with the square root, "
        "so that the ways between the sites are seen. The cell is outlined.",
        panels=2,
        columns=1 if wide else 2,
        panel=(6.0, 0.9 + 5.0 * shape) if wide else (3.6, small),
        narrow_height=small,
    )


def square_pixels(part: DensitySlices, values: np.ndarray) -> np.ndarray:
    """Bring a density [A, B] on the grid of a cell to square pixels [Y, X].

    Interpolated between the four nearest points of the grid; NaN outside the cell.
    """
    corner = np.array([part.x[0, 0], part.y[0, 0]])
    a = np.array([part.x[-1, 0], part.y[-1, 0]]) - corner
    b = np.array([part.x[0, -1], part.y[0, -1]]) - corner
    x, y = (np.arange(v.min() + _PIXEL / 2, v.max(), _PIXEL) for v in (part.x, part.y))
    place = np.stack(np.meshgrid(x, y), -1) - corner  # [Y, X, 2]
    fraction = place @ np.linalg.inv(np.stack([a, b]))
    points = np.moveaxis(fraction * values.shape - 0.5, -1, 0)
    found = ndimage.map_coordinates(values, points, order=1, mode="grid-wrap")
    outside = ((fraction < -1e-9) | (fraction > 1 + 1e-9)).any(-1)
    return np.where(outside, np.nan, found)


def radial_distribution(found: Comparison, pairs: Pairs, folder: Path) -> Drawn:
    """Radial distribution function of the mobile ions."""

    def plot(fig: Any, axes: Sequence[Any]) -> None:
        (ax,) = axes
        band(ax, [(pairs.r, run) for run in pairs.md_runs], pairs.r)
        for (name, _, style), values in zip(pair(found), (pairs.md, pairs.generated), strict=True):
            ax.plot(pairs.r, values, label=name, **style)
        ax.axhline(1, color="black", lw=0.5)
        ax.set_xlim(0, pairs.r[-1])
        ax.set_ylim(bottom=0)
        ax.set_xlabel("distance between ions r (Å)")
        ax.set_ylabel("g(r)")
        ax.legend()

    return draw(
        plot,
        folder,
        "radial_distribution",
        "Radial distribution function of the mobile ions",
        "How often two mobile ions of a cell are at a distance, over how often they would be if "
        f"their places did not depend on each other.{note(found)}",
        panel=(5.0, 3.2),
    )
