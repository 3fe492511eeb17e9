"""One look for all figures: colours that colour-blind readers tell apart, also in grey."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mdgan_hpc.outputs import written_whole

#: Okabe and Ito's palette: blue for MD, vermilion for MD-GAN; line styles differ as well.
MD = {"color": "#0072B2", "linestyle": "-"}
GENERATED = {"color": "#D55E00", "linestyle": "--"}
OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TRAINING_SPAN = "0.92"

#: Sequential and monotone in lightness, from white.
DENSITY_MAP = "Blues"

_RC: dict[Any, Any] = {
    "figure.dpi": 150,
    "savefig.dpi": 200,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.5,
    "pdf.fonttype": 42,
}


@contextmanager
def figure(width: float = 5.0, height: float = 3.6, **subplots: Any) -> Iterator[Any]:
    """Give a figure and its axes in the common style, drawn without a display."""
    # Where its cache cannot be written, as in a read-only home, it tells at length of another one.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib
    from matplotlib.figure import Figure

    # No pyplot: figures leave the display and the style of a notebook alone.
    with matplotlib.rc_context(_RC):
        fig = Figure(figsize=(width, height), layout="constrained")
        yield fig, fig.subplots(**subplots)


def save(fig: Any, folder: Path, name: str) -> str:
    """Write a figure as PNG and PDF; return its name."""
    lay_out(fig)
    for suffix in ("png", "pdf"):
        options = {"metadata": {"CreationDate": None}} if suffix == "pdf" else {}
        with written_whole(folder / f"{name}.{suffix}") as partial:
            fig.savefig(partial, format=suffix, **options)
    return name


def lay_out(fig: Any) -> None:
    """Place all parts once; what is saved afterwards needs no rehearsal for the places."""
    fig.get_layout_engine().execute(fig)
    fig.set_layout_engine(None)  # "none" would leave one that asks for the rehearsal
