"""One way to draw a figure: for the page of a journal, and with its panels one below the other."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdgan_hpc.plotting import figure, lay_out, save

#: Width of the form for small screens, inches: letters of 9 points are 13 pixels high on a phone of
#: 400.
NARROW_INCHES = 3.6

#: Gets the figure and its axes, row by row.
Plot = Callable[[Any, Sequence[Any]], None]


@dataclass(frozen=True)
class Drawn:
    """A figure of the report, as files NAME.png and NAME.pdf in its folder.

    Attributes
    ----------
    name : str
    title : str
        What is shown, in a few words.
    caption : str
        What the curves are and how to read them.
    width : float
        Inches.
    narrow : bytes
        PNG for small screens: narrower, so that its words stay legible, panels one below the other.
    """

    name: str
    title: str
    caption: str
    width: float
    narrow: bytes


def draw(
    plot: Plot,
    folder: Path,
    name: str,
    title: str,
    caption: str,
    *,
    panels: int = 1,
    columns: int = 2,
    panel: tuple[float, float] = (3.5, 2.8),
    narrow_height: float | None = None,
    heights: Sequence[float] = (),
    **subplots: Any,
) -> Drawn:
    """Draw a figure into `folder`.

    Parameters
    ----------
    plot : callable
    folder : path
    name, title, caption : str
        See `Drawn`.
    panels, columns : int
        Panels in all, and beside each other on a wide page.
    panel : (float, float)
        Width and height of one, inches.
    narrow_height : float, optional
        Height of one on small screens, inches; as on wide ones if not given.
    heights : sequence of float
        Of the panels, relative; equal where not given. A row is as high as its highest panel.
    **subplots
        Further options of ``Figure.subplots``.
    """
    columns = min(columns, panels)
    rows = -(-panels // columns)
    ratios = list(heights) or [1.0] * panels
    of_rows = [max(ratios[k : k + columns]) for k in range(0, panels, columns)]
    width, height = panel
    with figure(
        columns * width,
        rows * height,
        nrows=rows,
        ncols=columns,
        squeeze=False,
        height_ratios=of_rows,
        **subplots,
    ) as (fig, axes):
        plot(fig, list(axes.flat)[:panels])
        _hide_rest(axes, panels)
        save(fig, folder, name)
    tall = panels * (narrow_height or height)
    with figure(
        NARROW_INCHES, tall, nrows=panels, squeeze=False, height_ratios=ratios, **subplots
    ) as (fig, axes):
        plot(fig, list(axes.flat))
        lay_out(fig)
        picture = io.BytesIO()
        fig.savefig(picture, format="png")
    return Drawn(name, title, caption, columns * width, picture.getvalue())


def _hide_rest(axes: Any, panels: int) -> None:
    for ax in list(axes.flat)[panels:]:
        ax.set_visible(False)
