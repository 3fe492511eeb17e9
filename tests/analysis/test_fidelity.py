"""The fidelity ratios on processes whose truth is known."""

import numpy as np
import pytest

from mdgan_hpc.analysis.fidelity import Fidelity
from mdgan_hpc.verdict import Verdict
from tests.support.motion import brownian, cage_and_hops

INTERVAL = 0.02
HOP = 2.5


def process(rng, n_particles, **options):
    return cage_and_hops(
        1500, n_particles, rng, hop=HOP, **{"interval": INTERVAL, "rate": 1.0, **options}
    )


@pytest.fixture(scope="module")
def reference():
    rng = np.random.default_rng(11)
    runs = [process(rng, 12) for _ in range(3)]
    return Fidelity(runs, INTERVAL, np.eye(3) * HOP)


def test_the_true_process_scores_as_stated():
    """One half with three runs and many ions; in groups the size of a run, and for one run, one."""
    rng = np.random.default_rng(1)
    many, groups, one = [], [], []
    for _ in range(6):
        reference = Fidelity([process(rng, 12) for _ in range(3)], INTERVAL, np.eye(3) * HOP)
        result = reference.compare(process(rng, 240), INTERVAL)
        many.append(result.median)
        groups.append(result.run_median)
        one.append(reference.compare(process(rng, 12), INTERVAL).median)
        assert result.worst[1] < 1.6
        assert max(result.run_ratios.values()) < 2
        assert (np.abs(result.drift_z) < 4).all()
    assert np.mean(many) == pytest.approx(0.5, abs=0.1)
    assert np.mean(groups) == pytest.approx(1.0, abs=0.15)
    assert np.mean(one) == pytest.approx(1.0, abs=0.25)


def test_cells_that_differ_too_much_are_seen_in_groups(reference):
    """Half of the cells twice as fast, half without hops: right in the mean only."""
    rng = np.random.default_rng(8)
    cells = [process(rng, 12, rate=2.0 * (k % 2)) for k in range(20)]
    result = reference.compare(np.concatenate(cells, 1), INTERVAL)
    assert result.ratios["residence time"] < 1.5
    assert result.run_ratios["residence time"] > 3


def test_drift_of_whole_cells_has_the_error_of_cells():
    """Twelve ions that move as one are one ion."""
    rng = np.random.default_rng(9)

    def cells(n):
        return np.repeat(rng.normal(0, 1, (100, n, 3)), 12, 1).cumsum(0)

    reference = Fidelity([cells(1), cells(1)], INTERVAL)
    z = [reference.compare(cells(40), INTERVAL).drift_z for _ in range(8)]
    assert 0.4 < np.mean(np.square(z)) < 2


def test_sites_are_found_where_the_process_has_them(reference):
    sites = reference.sites
    assert len(sites.fraction) == 1
    folded = (sites.fraction[0] + 0.5) % 1 - 0.5
    np.testing.assert_allclose(folded, 0, atol=0.05)


def test_gaussian_motion_of_the_same_msd_fails(reference):
    rng = np.random.default_rng(2)
    caged = process(rng, 240, rate=0.0)
    surrogate = caged + brownian(1500, 240, rng, d=HOP**2 / 6, interval=INTERVAL)
    result = reference.compare(surrogate, INTERVAL)
    assert result.ratios["MSD"] < 1.6
    assert result.ratios["alpha2"] > 5
    assert result.ratios["residence time"] > 3
    assert result.worst[1] > 5


@pytest.mark.parametrize("rate", [0.5, 2.0])
def test_wrong_hop_rates_fail(reference, rate):
    result = reference.compare(process(np.random.default_rng(3), 120, rate=rate), INTERVAL)
    assert result.ratios["MSD"] > 2
    assert result.ratios["residence time"] > 2


def test_drift_is_seen(reference):
    positions = process(np.random.default_rng(4), 240)
    positions[..., 0] += np.arange(1500)[:, None] * 0.006
    result = reference.compare(positions, INTERVAL)
    assert result.drift_z[0] > 5
    assert result.ratios["drift"] > 1.5


def test_motion_of_one_time_direction_is_seen():
    """Kicks that relax (shot noise) against their own time reverse: only the direction differs."""
    rng = np.random.default_rng(5)

    def shots(n):
        x = np.zeros((2000, n, 3))
        for t in range(1, len(x)):
            kick = rng.poisson(0.02, (n, 3)) * rng.normal(0, 3.0, (n, 3))
            x[t] = 0.9 * x[t - 1] + kick
        return x + rng.normal(0, 0.05, x.shape).cumsum(0)

    reference = Fidelity([shots(12) for _ in range(3)], INTERVAL)
    forward = reference.compare(shots(96), INTERVAL)
    backward = reference.compare(shots(96)[::-1], INTERVAL)
    assert forward.ratios["time reversal"] < 1.6
    assert backward.ratios["time reversal"] > 2.5
    assert backward.ratios["MSD"] < 1.6


def test_a_longer_record_interval_and_a_longer_run_are_compared_at_common_lags(reference):
    positions = process(np.random.default_rng(6), 192)
    coarse = np.concatenate([positions, positions[-1] + positions - positions[0]])[::2]
    result = reference.compare(coarse, 2 * INTERVAL)
    assert result.median < 1.4


def test_table_tells_every_observable(reference):
    result = reference.compare(process(np.random.default_rng(7), 24), INTERVAL)
    assert [row[0] for row in result.table()[1:]] == list(result.ratios)
    assert result.to_tree()["median"] == result.median


def test_ions_that_come_too_close_are_told_by_the_nearest():
    """Pairs that keep 3 Angstrom apart; in one cell of 25 they meet, as no MD ion does."""
    rng, cell = np.random.default_rng(8), 12.0 * np.eye(3)

    def cells(count, meeting=0):
        pairs = []
        for number in range(count):
            first = brownian(400, 1, rng, d=0.1, interval=INTERVAL)
            way = brownian(400, 1, rng, d=0.1, interval=INTERVAL) + rng.normal(size=3)
            apart = 3 + 0.2 * rng.normal(size=(400, 1, 1))
            apart *= 0.2 if number < meeting else 1
            pairs += [first, first + apart * way / np.linalg.norm(way, axis=-1, keepdims=True)]
        return np.concatenate(pairs, 1)

    reference = Fidelity([cells(1) for _ in range(4)], INTERVAL, cell=cell)
    good, bad = cells(100), cells(100, meeting=4)
    known = {"ions_per_cell": 2}
    assert reference.compare(good, INTERVAL, **known).ratios["nearest ion"] < 1.5
    assert reference.compare(bad, INTERVAL, **known).ratios["nearest ion"] > 2
    # The cell of generated ions may be another; without one they are single ions.
    larger = reference.compare(good, INTERVAL, **known, cell=2 * cell)
    assert larger.ratios["nearest ion"] < 1.5
    alone = reference.compare(good, INTERVAL)
    assert "nearest ion" not in alone.ratios
    assert alone.too_close is None
    bad_one, md = reference.compare(bad, INTERVAL, **known), np.concatenate(reference.runs)
    seen, own = (np.linalg.norm(x[:, ::2] - x[:, 1::2], axis=-1) for x in (bad, md))
    edges = np.quantile([own, own], [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9])
    shares = [np.sqrt([(x < edge).mean() for edge in edges]) for x in (seen, own)]
    expected = np.sqrt(np.mean((shares[0] - shares[1]) ** 2))
    assert bad_one.distances["nearest ion"] == pytest.approx(expected, rel=1e-9)
    assert bad_one.closest_angstrom == pytest.approx(own.min())
    assert bad_one.too_close == pytest.approx((seen < own.min()).mean())
    assert bad_one.too_close > 0.03


def test_one_observable_that_is_far_off_makes_a_model_doubtful():
    told = {
        "median": 0.7,
        "worst_observable": "nearest ion",
        "msd_fidelity": 0.5,
        "lag_ps": np.array([0.1, 1.0]),
        "msd_ratio": np.array([0.95, 1.05]),
        "drift_z": 1.0,
        "level": np.array([0.5]),
        "quantile_ratio": np.array([1.0]),
        "alpha2": 0.0,
        "alpha2_md": 0.0,
        "ions": 1024,
        "against": "its training MD",
    }
    near, far = (Verdict(worst=worst, **told) for worst in (4.0, 12.0))
    assert not near.doubts
    assert near.line.startswith("The model moves as the MD does")
    assert len(far.doubts) == 1
    assert "nearest ion" in far.doubts[0]
    assert far.line.startswith("The model moves roughly as the MD does")
    assert not far.is_poor
