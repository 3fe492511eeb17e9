"""The report as one HTML page that needs no other file."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { text-align: left; padding: .3rem .9rem; border-bottom: 1px solid #ddd;
         vertical-align: top; }
th { background: #f3f3f3; } td:not(:first-child) { font-variant-numeric: tabular-nums; }
figure { margin: 1.5rem 0; } img { max-width: 100%; height: auto; }
figcaption { color: #444; font-size: .92rem; max-width: 46rem; }
td.number { white-space: nowrap; }
.key { font-size: 1.05rem; } .note { color: #555; font-size: .9rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f7f7f7; padding: .6rem;
      font-size: .8rem; }
"""

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]


def write_page(
    path: Path,
    *,
    title: str,
    lines: Sequence[str],
    tables: Sequence[Table],
    figures: Sequence[tuple[str, str]],
    folder: Path,
    provenance: str,
) -> None:
    """Write the page.

    Parameters
    ----------
    path : path
    title : str
    lines : sequence of str
        The results in sentences, on top.
    tables : sequence of (heading, column names, rows)
    figures : sequence of (name, caption)
        PNG files in `folder`.
    folder : path
    provenance : str
        Shown at the end.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    parts += [f'<p class="key">{html.escape(line)}</p>' for line in lines]
    for heading, columns, rows in tables:
        parts.append(f"<h2>{html.escape(heading)}</h2>")
        parts.append(_table(columns, rows))
    parts.append("<h2>Figures</h2>")
    for name, caption in figures:
        data = base64.b64encode((folder / f"{name}.png").read_bytes()).decode()
        text = html.escape(caption)
        parts.append(
            f'<figure><img alt="{text}" src="data:image/png;base64,{data}">'
            f"<figcaption>{text}</figcaption></figure>"
        )
    parts.append("<h2>Provenance</h2>")
    parts.append(f"<pre>{html.escape(provenance)}</pre></body></html>")
    path.write_text("\n".join(parts), encoding="utf-8")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    body = "".join("<tr>" + "".join(_cell(str(cell)) for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(text: str) -> str:
    # Numbers stay on one line, sentences may break.
    kind = ' class="number"' if len(text) < 30 else ""
    return f"<td{kind}>{html.escape(text)}</td>"
