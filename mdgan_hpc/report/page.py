"""The report as one HTML page that needs no other file, for wide and narrow screens."""

import base64
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdgan_hpc.report.figures.panels import Drawn
from mdgan_hpc.report.style import NARROW, STYLE

#: Scale of figures on a wide screen: one of seven inches fills the page.
_PIXELS_PER_INCH = 118


@dataclass(frozen=True)
class Table:
    """A table that explains itself.

    Attributes
    ----------
    title : str
    note : str
        What the numbers are, and which are good.
    columns : sequence of str
        The first is that of the names of the rows.
    rows : sequence of sequence of str
    """

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Lines:
    """Sentences, each a paragraph.

    Attributes
    ----------
    lines : sequence of str
    grade : str
        good, doubtful, poor or unknown: puts them into a box of that colour.
    """

    lines: Sequence[str]
    grade: str = ""


@dataclass(frozen=True)
class Folded:
    """A long text that opens on a click."""

    title: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own."""

    heading: str
    blocks: Sequence[Table | Drawn | Lines | Folded]


def write_page(
    path: Path, *, title: str, facts: Sequence[str], sections: Sequence[Section], folder: Path
) -> None:
    """Write the page; tables and figures are numbered in the order in which they come.

    Parameters
    ----------
    path : path
    title : str
    facts : sequence of str
        Below the title, in one line.
    sections : sequence of Section
    folder : path
        Of the figures.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<header><h1>{html.escape(title)}</h1>",
        f'<p class="facts">{html.escape(" · ".join(facts))}</p></header><main>',
    ]
    parts += _body(sections, folder)
    parts.append("</main></body></html>")
    path.write_text("\n".join(parts), encoding="utf-8")


def _body(sections: Sequence[Section], folder: Path) -> Iterator[str]:
    tables = figures = 0
    for section in sections:
        yield f"<section><h2>{html.escape(section.heading)}</h2>"
        for block in section.blocks:
            if isinstance(block, Lines):
                kind = f' class="verdict {block.grade}"' if block.grade else ""
                yield f"<div{kind}>"
                yield from (f"<p>{html.escape(line.strip())}</p>" for line in block.lines)
                yield "</div>"
            elif isinstance(block, Folded):
                yield f"<details><summary>{html.escape(block.title)}</summary>"
                yield f"<pre>{html.escape(block.text)}</pre></details>"
            elif isinstance(block, Table):
                tables += 1
                yield _table(block, tables)
            else:
                figures += 1
                yield _figure(block, figures, folder)
        yield "</section>"


def _table(table: Table, number: int) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    body = "".join(_row(row, table.columns) for row in table.rows)
    return (
        f'<div class="table" tabindex="0"><table><caption><b>Table {number}. '
        f"{html.escape(table.title)}.</b> {html.escape(table.note)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: Sequence[str], columns: Sequence[str]) -> str:
    name, *cells = row
    last = max((k for k, cell in enumerate(cells) if cell), default=0)
    text = [f'<th scope="row">{html.escape(name)}</th>']
    for k, cell in enumerate(cells[: last + 1]):
        # A sentence in the last cell that is filled takes the place of the empty ones.
        span = len(cells) - last if k == last and not _is_number(cell) else 1
        wide = f' colspan="{span}"' if span > 1 else ""
        kind = ' class="number"' if _is_number(cell) else ""
        label = f' data-label="{html.escape(columns[k + 1])}"'
        text.append(f"<td{kind}{wide}{label}>{html.escape(cell)}</td>")
    if _is_number(cells[last]):
        text += ["<td></td>"] * (len(cells) - last - 1)
    return f"<tr>{''.join(text)}</tr>"


def _is_number(cell: str) -> bool:
    # Numbers stay on one line, sentences may break.
    return len(cell) < 30


def _figure(drawn: Drawn, number: int, folder: Path) -> str:
    wide = _data((folder / f"{drawn.name}.png").read_bytes())
    alt, width = html.escape(drawn.title), round(_PIXELS_PER_INCH * drawn.width)
    picture = f'<img loading="lazy" width="{width}" alt="{alt}" src="{wide}">'
    source = f'<source media="{NARROW}" srcset="{_data(drawn.narrow)}">'
    return (
        f'<figure id="{drawn.name}"><picture>{source}{picture}</picture><figcaption>'
        f"<b>Figure {number}. {html.escape(drawn.title)}.</b> {html.escape(drawn.caption)} "
        f'<a href="{drawn.name}.pdf">PDF</a></figcaption></figure>'
    )


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
