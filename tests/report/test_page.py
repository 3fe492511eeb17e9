"""The page of a report: numbers as in print, numbered figures, any width of screen."""

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mdgan_hpc.analysis.observables.pairs import longest_distance, radial_distribution
from mdgan_hpc.analysis.sites.density import DensitySlices
from mdgan_hpc.plotting import _RC
from mdgan_hpc.report.figures.panels import draw
from mdgan_hpc.report.figures.structure import square_pixels
from mdgan_hpc.report.numbers import between, formula, measured, plain_text
from mdgan_hpc.report.page import Folded, Lines, Section, Table, write_page

#: Points of all words of a figure.
_LETTERS = [_RC[name] for name in _RC if name.endswith("size")]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.parametrize(
    ("value", "error", "printed"),
    [
        (2.0, 0.0062, "2.000 ± 0.006"),
        (1.234, 0.0949, "1.23 ± 0.09"),
        (1.234, 0.0962, "1.23 ± 0.10"),
        (1.2346, 0.0123, "1.235 ± 0.012"),
        (2e-4, 6.2e-7, "(2.000 ± 0.006) × 10⁻⁴"),
        (1361.0, 43.0, "1360 ± 40"),
        (2.5e7, 1.2e6, "(2.50 ± 0.12) × 10⁷"),
        (1.5, float("nan"), "1.5 ± unknown"),
        (float("nan"), 0.1, "unknown"),
    ],
)
def test_numbers_are_rounded_by_their_errors(value, error, printed):
    assert measured(value, error) == printed


def test_intervals_formulas_and_plain_text():
    assert between(1.8573, 2.2261, 0.0942) == "1.86 to 2.23"
    assert formula("LiZr2(PO4)3") == "LiZr₂(PO₄)₃"
    line = f"{measured(2e-4, 6.2e-7)} cm²/s = 2 Å²/ps, α₂ in Å"
    assert plain_text(line) == "(2.000 +- 0.006) x 10^-4 cm2/s = 2 A^2/ps, alpha2 in A"
    assert plain_text(line).isascii()


class Elements(HTMLParser):
    """All start tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A page with wide figures, long words and a table of many columns."""
    folder = tmp_path_factory.mktemp("page")

    def plot(fig, axes):
        for ax in axes:
            ax.plot([0, 1], [1, 2])

    figures = [
        draw(plot, folder, "one", "One panel", "Its <caption>.", panel=(5.0, 3.0)),
        draw(plot, folder, "four", "Four panels", "Theirs.", panels=4, panel=(3.5, 2.5)),
    ]
    row = [measured(1.234e-4, 2e-6)] * 8
    wide = Table("Many columns", "Larger is better.", ["", *map(str, range(8))], [["row", *row]])
    told = Table("Reasons", "", ["", "a", "b"], [["x", "a sentence that takes both cells, 30", ""]])
    sections = [
        Section("Text", [Lines(["Sentence & more.", "w" * 300], "good"), wide, figures[0]]),
        Section("More", [told, figures[1], Folded("Record", '{"key": "' + "v" * 400 + '"}')]),
    ]
    path = folder / "report.html"
    write_page(
        path, title="Li in LiH", facts=["8 ions", "1800 K"], sections=sections, folder=folder
    )
    return path


def test_figures_and_tables_are_numbered_and_explained(page):
    text = page.read_text()
    assert re.findall(r"<b>(Figure|Table) (\d)\. ([^<]*)\.</b>", text) == [
        ("Table", "1", "Many columns"),
        ("Figure", "1", "One panel"),
        ("Table", "2", "Reasons"),
        ("Figure", "2", "Four panels"),
    ]
    elements = Elements(text)
    assert [image["alt"] for image in elements.of("img")] == ["One panel", "Four panels"]
    links = [link["href"] for link in elements.of("a")]
    assert links == ["one.pdf", "four.pdf"]
    assert all((page.parent / link).exists() for link in links)
    assert "Its &lt;caption&gt;." in text
    assert '<div class="verdict good">' in text
    assert 'colspan="2"' in text
    assert "(1.234 ± 0.020) × 10⁻⁴" in text


def test_nothing_on_the_page_has_a_width_that_a_screen_may_not_have(page):
    text = page.read_text()
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    assert not re.search(r"(?<![-\w])(min-)?width:\s*\d+(px|rem|em)", style)
    assert "max-width: 100%" in style
    assert "prefers-color-scheme: dark" in style
    assert 'name="viewport" content="width=device-width' in text
    # Figures come in a second form: panels one below the other, and letters that can be read.
    sources = Elements(text).of("source")
    assert {source["media"] for source in sources} == {"(max-width: 40rem)"}
    one, four = (_size(source["srcset"].partition(",")[2]) for source in sources)
    wide = _size(re.search(r'alt="Four panels" src="data:[^,]*,([^"]*)"', text)[1])
    assert four[1] > 2 * four[0]
    assert wide[1] < wide[0]
    for width, _ in (one, four):
        inches = width / _RC["savefig.dpi"]
        assert (400 - 32) / inches * min(_LETTERS) / 72 > 11  # pixels on a phone


def _size(png: str) -> tuple[int, int]:
    header = base64.b64decode(png[:64])
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


@pytest.mark.skipif(CHROMIUM is None, reason="no browser here")
@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_never_scrolls_sideways(page, tmp_path, width):
    # Browsers without a screen have a least width: the page is put into a frame.
    probe = (
        "<script>addEventListener('load', () => {const e = document.documentElement;"
        "parent.postMessage(`${e.scrollWidth} ${e.clientWidth}`, '*')})</script>"
    )
    (tmp_path / "inner.html").write_text(page.read_text().replace("</body>", f"{probe}</body>"))
    (tmp_path / "outer.html").write_text(
        "<script>onmessage = e => document.title = e.data</script>"
        f'<iframe src="inner.html" style="border:0;width:{width}px;height:900px"></iframe>'
    )
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000"]
    options += ["--allow-file-access-from-files", "--hide-scrollbars"]
    done = subprocess.run(
        [CHROMIUM, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
        + [(tmp_path / "outer.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    scroll, client = re.search(r"<title>(\d+) (\d+)</title>", done.stdout).groups()
    assert int(client) == width
    assert int(scroll) <= width


def test_a_sheared_density_keeps_its_places_on_square_pixels():
    a, b = np.array([6.0, 0.0]), np.array([3.0, 4.0])
    n = (60, 40)
    i, j = np.meshgrid(*(np.arange(k + 1) / k for k in n), indexing="ij")
    x, y = np.moveaxis(i[..., None] * a + j[..., None] * b, -1, 0)
    u, v = np.meshgrid(*((np.arange(k) + 0.5) / k for k in n), indexing="ij")
    values = np.cos(2 * np.pi * u) + np.cos(2 * np.pi * v)
    picture = square_pixels(DensitySlices(x, y, 0.0, 1.0, values, values), values)
    assert picture.shape == (40, 90)
    rows, columns = np.nonzero(np.isfinite(picture))
    place = np.stack([0.1 * columns + 0.05, 0.1 * rows + 0.05], -1) @ np.linalg.inv([a, b])
    expected = np.cos(2 * np.pi * place).sum(-1)
    np.testing.assert_allclose(picture[rows, columns], expected, atol=0.01)
    # The parallelogram fills as much of the picture as of the plane.
    assert np.isfinite(picture).mean() == pytest.approx(24 / 36, abs=0.02)


def test_radial_distribution_of_a_gas_is_one_and_of_a_lattice_has_its_shells():
    rng = np.random.default_rng(0)
    cell = np.array([[9.0, 0, 0], [2.0, 8.0, 0], [0, 1.0, 7.0]])
    gas = rng.random((400, 24, 3)) @ cell
    r, g = radial_distribution(gas, cell, 12)
    assert r[-1] < longest_distance(cell) <= 7.0
    np.testing.assert_allclose(g[r > 2].mean(), 1, atol=0.02)
    corners = 2.5 * np.stack(np.meshgrid(*[np.arange(3)] * 3), -1).reshape(1, -1, 3)
    r, g = radial_distribution(corners, 7.5 * np.eye(3), 27)
    shells = r[g > 0]
    np.testing.assert_allclose(shells[:3], [2.5, 2.5 * 2**0.5, 2.5 * 3**0.5], atol=0.06)
    # Six neighbours in the first shell: density times its volume times g.
    edges = shells[0] - 0.05, shells[0] + 0.05
    volume = 4 * np.pi / 3 * (edges[1] ** 3 - edges[0] ** 3)
    assert g[g > 0][0] * volume * 26 / 7.5**3 == pytest.approx(6)
