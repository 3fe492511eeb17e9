"""A fresh critic is trained to tell MD from generated windows and judged on what it never saw.

Cross-validation by run: each MD run is kept out once, with a share of the generated cells, and a
critic trained on the rest. Beside it the same between MD runs: one run against the others, trained
on one half of the time and judged on the other, with a gap of a window. Equilibrium motion runs
backwards as well, so half of the MD windows that critics learn from do.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mdgan_hpc.analysis.fidelity.critic.auc import auc_error, auc_of
from mdgan_hpc.analysis.fidelity.critic.network import Scores, train_critic
from mdgan_hpc.analysis.fidelity.critic.result import CriticResult, Examples
from mdgan_hpc.analysis.fidelity.critic.scalars import Scalars
from mdgan_hpc.analysis.fidelity.critic.windows import Motion, Span, Windows, cut_all
from mdgan_hpc.analysis.sites.lattice import Lattice
from mdgan_hpc.progress import Progress

#: Lengths of the windows that are asked for, ps.
SPANS_PS = (0.2, 1.0, 4.0)
#: Parts that runs, and generated cells, are shared into for cross-validation, at most.
_FOLDS = 4
#: A run holds so many windows end to end at least, and all runs together so many of single ions.
_IN_RUN, _IN_ALL = 4, 48
#: Generated ions that are looked at, for each ion of the MD.
_MORE_IONS = 6
#: Share of the ions and cells trained on that are kept back to end the training.
_KEPT_BACK = 0.25
#: Windows drawn of each kind.
_DRAWN = 3
#: Points of a drawn window.
_POINTS = 200


def judge_by_critic(
    md: Motion,
    made: Motion,
    interval_ps: float,
    lattice: Lattice | None = None,
    *,
    seed: int = 0,
    silent: bool = False,
) -> CriticResult:
    """Train critics to tell generated from MD windows and judge them on what they never saw.

    Parameters
    ----------
    md : Motion
        Each run is a cell.
    made : Motion
        Generated; cells are independent of each other.
    interval_ps : float
        Between two records of both.
    lattice : Lattice, optional
        Of a crystal.
    seed : int
    silent : bool
        Show no progress.
    """
    runs = list(md.cells) if len(md.cells) > 1 else _halves(md.cells[0])
    spans = _spans(runs, interval_ps)
    folds = min(_FOLDS, len(runs))
    if not spans:
        return CriticResult(refused="too few MD ions or records for a critic")
    if not all(np.isfinite(cell).all() for cell in made.cells):
        return CriticResult(refused="the generated ions diverge: no critic is needed")
    if len(made.cells) < 2 * folds or min(map(len, made.cells)) <= 2 * spans[0].records:
        return CriticResult(refused="too few generated cells or records for a critic")
    spans = [s for s in spans if min(map(len, made.cells)) > 2 * s.records]
    sides = [Motion(runs, md.cell), _some(made, _MORE_IONS * sum(r.shape[1] for r in runs))]
    together = min(cell.shape[1] for side in sides for cell in side.cells)
    known = md.cell is not None and made.cell is not None
    scalars = Scalars(spans[-1].lags(), lattice, together - 1 if known else 0)
    seen = cut_all(sides, scalars, spans, silent=silent)
    several = len(md.cells) > 1
    columns, examples = [], {}
    count = len(spans) * folds * (3 if several else 1)
    with Progress("Critics", count, "trainings", silent=silent) as progress:
        for span, (windows, backward) in zip(spans, seen, strict=True):
            trial = _Trial(windows, backward, span, folds, seed, progress)
            told, scores = trial.against_generated()
            if several:
                told |= trial.between_runs(min(map(len, runs)))
            columns.append(told)
            examples[f"{span.ps:.2g}"] = _examples(windows, scores, sides, span)
    fields: dict[str, Any] = {key: np.array([c[key] for c in columns]) for key in columns[0]}
    return CriticResult(np.array([s.ps for s in spans]), **fields, examples=examples)


def _halves(run: np.ndarray) -> list[np.ndarray]:
    """Return the two halves of a single run, a tenth of it apart."""
    gap = len(run) // 20
    return [run[: len(run) // 2 - gap], run[len(run) // 2 + gap :]]


def _spans(runs: Sequence[np.ndarray], interval_ps: float) -> list[Span]:
    """Return the lengths of windows of which the MD runs hold enough."""
    spans: list[Span] = []
    for wanted in SPANS_PS:
        span = Span.of(wanted, interval_ps)
        windows = sum((len(r) - 1) // span.records * r.shape[1] for r in runs)
        fits = min(map(len, runs)) > _IN_RUN * span.records and windows >= _IN_ALL
        if fits and span not in spans and span.ps < 2 * wanted:
            spans.append(span)
    return spans


def _some(made: Motion, ions: int) -> Motion:
    """Return as many cells as hold so many ions."""
    count = -(-ions // made.cells[0].shape[1])
    return Motion(made.cells[:count], made.cell)


class _Trial:
    """Critics of windows of one length.

    Parameters
    ----------
    windows : (Windows, Windows)
        Of the MD runs, and generated.
    backward : Windows
        Those of the MD runs with time reversed: window by window the same pieces of the runs.
    """

    def __init__(
        self,
        windows: tuple[Windows, Windows],
        backward: Windows,
        span: Span,
        folds: int,
        seed: int,
        progress: Progress,
    ) -> None:
        self.md, self.made = windows
        self.backward = backward
        self.span, self.folds, self.seed, self.progress = span, folds, seed, progress

    def against_generated(self) -> tuple[dict[str, float], list[np.ndarray]]:
        """Return what critics tell of each length, and their scores of windows they never saw."""
        scores = [np.zeros(len(w)) for w in (self.md, self.made)]
        each, of_cells = [], []
        for fold in range(self.folds):
            out = [w.source % self.folds == fold for w in (self.md, self.made)]
            critic = self._trained(self._either_way(~out[0], fold), self.made[~out[1]], fold)
            tested = self.md[out[0]], self.made[out[1]]
            for own, where, part in zip(scores, out, tested, strict=True):
                own[where] = critic(part.rows)
            both = [s[o] for s, o in zip(scores, out, strict=True)]
            each.append(_judged(tested, both, self._group))
            of_cells.append(_of_cells(tested, both, self._group))
        told = {"windows": self._independent(), **_mean(each, "auc", "error")}
        if self._same_cells():
            told |= _mean(of_cells, "cell_auc", "cell_error")
        return told, scores

    def between_runs(self, records: int) -> dict[str, float]:
        """Return what critics tell of one run, or a few, against the others."""
        gap = self.span.records // 2
        halves = (
            self.md.start + self.span.records <= records // 2 - gap,
            self.md.start >= records // 2 + gap,
        )
        each = []
        for fold in range(self.folds):
            one = self.md.source % self.folds == fold
            for learned, judged in (halves, halves[::-1]):
                both = [self._either_way(learned & which, fold) for which in (~one, one)]
                critic = self._trained(both[0], both[1], fold)
                tested = self.md[judged & ~one], self.md[judged & one]
                each.append(_judged(tested, [critic(t.rows) for t in tested], self._group))
        # R runs have R - 1 differences, of which both halves of the time tell the same.
        return _mean(each, "md_auc", "md_error", independent=self.folds - 1)

    def _trained(self, low: Windows, high: Windows, fold: int) -> Scores:
        """Return a critic that says how much more like `high` than like `low` windows are."""
        rng = np.random.default_rng([self.seed, fold])
        kept = np.concatenate([_kept_back(side, rng) for side in (low, high)])
        label = np.arange(len(kept)) >= len(low)
        rows = np.concatenate([low.rows, high.rows])
        critic = train_critic(rows, label, kept, seed=1000 * self.seed + fold)
        self.progress.update()
        return critic

    def _either_way(self, chosen: np.ndarray, fold: int) -> Windows:
        """Return MD windows, half of them backward."""
        windows = self.md[chosen]
        turned = np.random.default_rng([self.seed, fold, 1]).random(len(windows)) < 0.5
        rows = np.where(turned[:, None, None], self.backward.rows[chosen], windows.rows)
        return Windows(rows, windows.source, windows.ion, windows.start)

    def _group(self, windows: Windows) -> np.ndarray:
        """Return which windows may depend on each other: those of a cell at about one time."""
        apart = max(self.span.records, int(self.md.start.max()) // 8 + 1)
        return np.asarray(windows.source * 10**6 + windows.start // apart)

    def _same_cells(self) -> bool:
        """Tell whether MD and generated cells hold as many ions, and more than one."""
        ions = {int(w.ion.max()) + 1 for w in (self.md, self.made)}
        return len(ions) == 1 and ions != {1}

    def _independent(self) -> float:
        """Return the number of MD windows that do not overlap."""
        sources = np.unique(self.md.source)
        ions = [int(self.md.ion[self.md.source == s].max()) + 1 for s in sources]
        last = [int(self.md.start[self.md.source == s].max()) for s in sources]
        each = [(t // self.span.records + 1) * n for t, n in zip(last, ions, strict=True)]
        return float(sum(each))


def _kept_back(windows: Windows, rng: np.random.Generator) -> np.ndarray:
    """Choose a share of the ions: all of the windows of each."""
    _, ion = np.unique(windows.source * 10**6 + windows.ion, return_inverse=True)
    n = int(ion.max()) + 1
    chosen = rng.permutation(n) < max(1, round(_KEPT_BACK * n))
    return np.asarray(chosen[ion])


Grouping = Callable[[Windows], np.ndarray]


def _judged(
    tested: tuple[Windows, Windows], scores: Sequence[np.ndarray], group: Grouping
) -> tuple[float, float]:
    """Return AUC and error."""
    return auc_of(*scores), auc_error(*scores, *map(group, tested))


def _of_cells(
    tested: tuple[Windows, Windows], scores: Sequence[np.ndarray], group: Grouping
) -> tuple[float, float]:
    """Return AUC and error of all ions of a cell together."""
    means, groups = [], []
    for windows, score in zip(tested, scores, strict=True):
        _, first, which = np.unique(
            windows.source * 10**9 + windows.start, return_index=True, return_inverse=True
        )
        means.append(np.bincount(which, score) / np.bincount(which))
        groups.append(group(windows)[first])
    return auc_of(*means), auc_error(*means, *groups)


def _mean(
    each: Sequence[tuple[float, float]], name: str, error: str, independent: int = 0
) -> dict[str, float]:
    """Return the mean of AUCs, and its error: so many are independent, or all of them."""
    values, errors = np.array(each).T
    spread = np.sqrt((errors**2).mean() / (independent or len(each)))
    return {name: float(values.mean()), error: float(spread)}


def _examples(
    windows: Sequence[Windows], scores: Sequence[np.ndarray], sides: Sequence[Motion], span: Span
) -> Examples:
    """Return the generated windows least like MD, each of another ion, and typical MD ones."""
    typical = np.abs(scores[0] - np.median(scores[0]))
    order = typical, -scores[1]
    step = max(1, span.records // _POINTS)
    drawn = []
    for side, own, by in zip(sides, windows, order, strict=True):
        taken: dict[tuple[int, int], np.ndarray] = {}
        for number in np.argsort(by, kind="stable"):
            source, ion, start = (int(v[number]) for v in (own.source, own.ion, own.start))
            path = side.cells[source][start : start + span.records + 1 : step, ion]
            taken.setdefault((source, ion), path.astype(np.float64) - path[0])
            if len(taken) == _DRAWN:
                break
        drawn.append(np.array(list(taken.values())))
    times = np.arange(drawn[0].shape[1]) * step * span.interval_ps
    return Examples(times, generated=drawn[1], md=drawn[0])
