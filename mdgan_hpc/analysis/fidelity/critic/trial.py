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
from mdgan_hpc.analysis.fidelity.critic.network import train_critic
from mdgan_hpc.analysis.fidelity.critic.result import CriticResult, Examples
from mdgan_hpc.analysis.fidelity.critic.scalars import Scalars
from mdgan_hpc.analysis.fidelity.critic.windows import Motion, Span, Windows, cut_all
from mdgan_hpc.analysis.sites.lattice import Lattice
from mdgan_hpc.parallel import Communicator, SingleProcess
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
    communicator: Communicator | None = None,
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
    communicator : Communicator, optional
        Ranks that share the trainings: this is rank 0, the others call `train_share`.
    """
    ranks = communicator or SingleProcess()
    runs = list(md.cells) if len(md.cells) > 1 else _halves(md.cells[0])
    spans = _spans(runs, interval_ps)
    folds = min(_FOLDS, len(runs))
    if refused := _refused(spans, folds, made):
        train_share(ranks, [])
        return CriticResult(refused=refused)
    spans = [s for s in spans if min(map(len, made.cells)) > 2 * s.records]
    sides = [Motion(runs, md.cell), _some(made, _MORE_IONS * sum(r.shape[1] for r in runs))]
    together = min(cell.shape[1] for side in sides for cell in side.cells)
    known = md.cell is not None and made.cell is not None
    scalars = Scalars(spans[-1].lags(), lattice, together - 1 if known else 0)
    seen = cut_all(sides, scalars, spans, silent=silent)
    between = min(map(len, runs)) if len(md.cells) > 1 else 0
    trials = [
        _Trial(windows, backward, span, folds, seed, between)
        for span, (windows, backward) in zip(spans, seen, strict=True)
    ]
    scores = train_share(ranks, trials, silent=silent)
    columns, examples = [], {}
    for trial, own in zip(trials, scores, strict=True):
        told, of_windows = trial.result(own)
        columns.append(told)
        examples[f"{trial.span.ps:.2g}"] = _examples(
            (trial.md, trial.made), of_windows, sides, trial.span
        )
    fields: dict[str, Any] = {key: np.array([c[key] for c in columns]) for key in columns[0]}
    return CriticResult(np.array([s.ps for s in spans]), **fields, examples=examples)


def train_share(
    ranks: Communicator, trials: "Sequence[_Trial]" = (), *, silent: bool = False
) -> list[list["Pair"]]:
    """Train all critics, each rank as many; every rank must call it, rank 0 with the trials.

    Returns
    -------
    list of list of (array, array)
        For each trial what each of its critics says of the two sides that it is tested on.
    """
    trials = ranks.bcast(list(trials))
    trainings = [(t, n) for t in range(len(trials)) for n in range(trials[t].trainings)]
    own = trainings[ranks.rank :: ranks.size]
    found: dict[tuple[int, int], Pair] = {}
    with Progress("Critics", len(own), "trainings", silent=silent or ranks.rank > 0) as progress:
        for t, n in own:
            found[t, n] = trials[t].train(n)
            progress.update()
    every = {key: pair for part in ranks.allgather(found) for key, pair in part.items()}
    return [[every[t, n] for n in range(trial.trainings)] for t, trial in enumerate(trials)]


def _refused(spans: Sequence[Span], folds: int, made: Motion) -> str:
    """Return why there can be no critic, if so."""
    if not spans:
        return "too few MD ions or records for a critic"
    if not all(np.isfinite(cell).all() for cell in made.cells):
        return "the generated ions diverge: no critic is needed"
    if len(made.cells) < 2 * folds or min(map(len, made.cells)) <= 2 * spans[0].records:
        return "too few generated cells or records for a critic"
    return ""


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


#: What a critic says of the windows of two sides.
Pair = tuple[np.ndarray, np.ndarray]


class _Trial:
    """Critics of windows of one length: each fold against the generated, then between MD runs.

    Parameters
    ----------
    windows : (Windows, Windows)
        Of the MD runs, and generated.
    backward : Windows
        Those of the MD runs with time reversed: window by window the same pieces of the runs.
    between : int
        Records of the shortest MD run; 0 of a single run, which is not compared with others.
    """

    def __init__(
        self,
        windows: tuple[Windows, Windows],
        backward: Windows,
        span: Span,
        folds: int,
        seed: int,
        between: int,
    ) -> None:
        self.md, self.made = windows
        self.backward = backward
        self.span, self.folds, self.seed, self.between = span, folds, seed, between

    @property
    def trainings(self) -> int:
        """Number of critics."""
        return self.folds * (3 if self.between else 1)

    def train(self, number: int) -> Pair:
        """Return what a critic says of both sides it is tested on."""
        fold, low, high = self._learned_from(number)
        rng = np.random.default_rng([self.seed, fold])
        kept = np.concatenate([_kept_back(side, rng) for side in (low, high)])
        label = np.arange(len(kept)) >= len(low)
        rows = np.concatenate([low.rows, high.rows])
        critic = train_critic(rows, label, kept, seed=1000 * self.seed + fold)
        low, high = self._tested_on(number)
        return critic(low.rows), critic(high.rows)

    def _learned_from(self, number: int) -> tuple[int, Windows, Windows]:
        """Return the fold of a critic, and the windows of both sides that it learns from."""
        if number < self.folds:
            of_md, of_made = self._kept_out(number)
            return number, self._either_way(~of_md, number), self.made[~of_made]
        fold, one, half, _ = self._one_run(number)
        return fold, self._either_way(half & ~one, fold), self._either_way(half & one, fold)

    def _tested_on(self, number: int) -> tuple[Windows, Windows]:
        """Return the windows of both sides that a critic is tested on."""
        if number < self.folds:
            of_md, of_made = self._kept_out(number)
            return self.md[of_md], self.made[of_made]
        _, one, _, half = self._one_run(number)
        return self.md[half & ~one], self.md[half & one]

    def _one_run(self, number: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        """Return the fold, and which MD windows are of it, learned from and tested on in time."""
        fold, second = divmod(number - self.folds, 2)
        gap, records = self.span.records // 2, self.between
        halves = (
            self.md.start + self.span.records <= records // 2 - gap,
            self.md.start >= records // 2 + gap,
        )
        return fold, self.md.source % self.folds == fold, halves[second], halves[1 - second]

    def _kept_out(self, fold: int) -> list[np.ndarray]:
        """Return which MD and which generated windows a fold keeps out."""
        return [w.source % self.folds == fold for w in (self.md, self.made)]

    def result(self, pairs: Sequence[Pair]) -> tuple[dict[str, float], list[np.ndarray]]:
        """Return what all critics together tell, and the scores of windows they never saw."""
        scores = [np.zeros(len(w)) for w in (self.md, self.made)]
        each, of_cells = [], []
        for fold, both in enumerate(pairs[: self.folds]):
            for own, where, said in zip(scores, self._kept_out(fold), both, strict=True):
                own[where] = said
            tested = self._tested_on(fold)
            each.append(_judged(tested, both, self._group))
            of_cells.append(_of_cells(tested, both, self._group))
        told = {"windows": self._independent(), **_mean(each, "auc", "error")}
        if self._same_cells():
            told |= _mean(of_cells, "cell_auc", "cell_error")
        if self.between:
            between = [
                _judged(self._tested_on(number), pairs[number], self._group)
                for number in range(self.folds, self.trainings)
            ]
            # R runs have R - 1 differences, of which both halves of the time tell the same.
            told |= _mean(between, "md_auc", "md_error", independent=self.folds - 1)
        return told, scores

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
