"""The same bits for any number of processes, any storage, interrupted or not."""

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from launch import environment, generate, here, model_file, naive, needs_mpi, needs_mpio, stored

from mdgan_hpc.cli.generate import main
from mdgan_hpc.errors import DataError
from mdgan_hpc.generate import run
from mdgan_hpc.generate.rng import BURN_IN, block_rng
from mdgan_hpc.generate.rollout import Rollout
from mdgan_hpc.models.file import Model, load_model, save_model
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.generator import TransitionGenerator
from mdgan_hpc.trajectory import Trajectory, layout
from mdgan_hpc.trajectory.blocks.plan import SETTINGS
from mdgan_hpc.trajectory.opening import seal_parameters

# 3 blocks of 64, the last cut; 5 segments of 100 records, the last cut.
SMALL = "--particles", 150, "--records", 450, "--block-particles", 64, "--block-records", 100


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_file(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def reference(model):
    return naive(model, 150, 450, 64, 100)


@pytest.mark.parametrize("workers", [1, 5])
def test_without_mpi_any_number_of_workers_gives_the_naive_result(
    model, reference, tmp_path, workers
):
    generate(model, "-o", tmp_path / "g.h5", *SMALL, "--workers", workers)
    assert stored(tmp_path / "g.h5").tobytes() == reference.tobytes()


@needs_mpi
@pytest.mark.parametrize("ranks", [1, 4])
def test_any_number_of_ranks_gives_the_same_bits_in_shards(model, reference, tmp_path, ranks):
    generate(model, "-o", tmp_path / "g.h5", *SMALL, ranks=ranks)
    assert stored(tmp_path / "g.h5").tobytes() == reference.tobytes()


@needs_mpio
@pytest.mark.parametrize("storage", ["mpio", pytest.param("shards", marks=pytest.mark.slow)])
@pytest.mark.parametrize("ranks", [2, 3])
def test_parallel_hdf5_gives_the_same_bits(model, reference, tmp_path, ranks, storage):
    generate(model, "-o", tmp_path / "g.h5", *SMALL, "--storage", storage, ranks=ranks, mpio=True)
    assert stored(tmp_path / "g.h5").tobytes() == reference.tobytes()


def test_several_particles_and_records_a_step_with_burn_in(tmp_path):
    model = model_file(tmp_path, k=2, per_step=3)
    options = "--particles", 10, "--records", 70, "--block-records", 20, "--burn-in", 12
    here(model, "-o", tmp_path / "g.h5", *options)
    expected = naive(model, 10, 70, 10, 18, burn_in=12)
    assert stored(tmp_path / "g.h5").tobytes() == expected.tobytes()


def test_random_numbers_drawn_beforehand_are_the_same(model):
    """As on a GPU, where threads draw for the segments that follow."""
    options = {"seed": 3, "block_particles": 8, "segment_records": 20}
    plain = Rollout(load_model(model), **options, noise_ahead=0)
    ahead = Rollout(load_model(model), **options, noise_ahead=3)
    for block, segments in ((0, 4), (1, 2), (0, 1)):
        states = [rollout.start(block) for rollout in (plain, ahead)]
        for _ in range(segments):
            here, there = (
                r.advance(block, c)[0] for r, c in zip((plain, ahead), states, strict=True)
            )
            assert torch.equal(here, there)


def test_every_nth_record_is_the_nth_of_the_full_run(model, reference, tmp_path):
    here(model, "-o", tmp_path / "g.h5", *SMALL, "--every", 7, "--velocities")
    assert stored(tmp_path / "g.h5").tobytes() == reference[6::7].tobytes()
    mean_velocity = (reference[6::7] - reference[5:-1:7][: 450 // 7]) / 0.008
    np.testing.assert_allclose(stored(tmp_path / "g.h5", "velocity"), mean_velocity, atol=1e-3)
    with Trajectory(tmp_path / "g.h5") as file:
        np.testing.assert_allclose(file.times_ps, 0.056 * np.arange(1, 65))
        assert file.steps[0] == 7


def test_extended_in_records_and_particles_equals_made_at_once(model, reference, tmp_path):
    small = "--particles", 70, "--records", 130, "--block-particles", 64, "--block-records", 100
    here(model, "-o", tmp_path / "g.h5", *small)
    for particles, records in ((70, 250), (100, 250), (150, 450)):
        here(
            model, "-o", tmp_path / "g.h5", "--particles", particles, "--records", records,
            "--block-records", 100,
        )  # fmt: skip
        expected = reference[:records, :particles]
        assert stored(tmp_path / "g.h5").tobytes() == expected.tobytes()
    with Trajectory(tmp_path / "g.h5") as file:
        assert (file.species == 3).all()
        assert file.n_particles == 150
        assert file.provenance["extends"]["config"]["records"] == 250


def test_a_finished_file_says_so_and_other_settings_are_refused(model, tmp_path):
    here(model, "-o", tmp_path / "g.h5", *SMALL)
    before = (tmp_path / "g.h5").stat().st_mtime_ns
    assert "nothing to do" in here(model, "-o", tmp_path / "g.h5", *SMALL).stderr
    refused = here(model, "-o", tmp_path / "g.h5", *SMALL, "--seed", 2, expect=2)
    assert "seed 1, not 2" in refused.stderr
    other = tmp_path / "other"
    other.mkdir()
    refused = here(model_file(other, a=0.8), "-o", tmp_path / "g.h5", *SMALL, expect=2)
    assert "another model" in refused.stderr
    fewer = here(model, "-o", tmp_path / "g.h5", "--records", 9, *SMALL[:2], *SMALL[4:], expect=2)
    assert "already" in fewer.stderr
    assert (tmp_path / "g.h5").stat().st_mtime_ns == before


def test_a_file_of_another_kind_is_not_touched_without_force(model, tmp_path):
    with h5py.File(tmp_path / "g.h5", "w") as file:
        file["x"] = 1
    assert "exists" in here(model, "-o", tmp_path / "g.h5", *SMALL, expect=2).stderr
    with h5py.File(tmp_path / "g.h5") as file:
        assert "x" in file
    here(model, "-o", tmp_path / "g.h5", *SMALL, "--force")
    assert stored(tmp_path / "g.h5").shape == (450, 150, 3)


@pytest.mark.parametrize("workers", [1, 2])
def test_divergence_names_particle_and_record(tmp_path, workers):
    model = model_file(tmp_path, jump_at=257)
    failed = generate(model, "-o", tmp_path / "g.h5", *SMALL, "--workers", workers, expect=1).stderr
    assert "diverged" in failed
    block = 0 if workers == 1 else int("particle 69," in failed)
    place = f"particle {64 * block + 5}, record 257 (particle block {block}, record block 2)"
    assert place in failed
    with Trajectory(tmp_path / "g.h5", incomplete_ok=True) as file:
        assert not file.complete


def test_streams_are_the_counters_they_claim(model):
    """The key and counter of a block, checked against Philox stepped by hand."""
    by_block = block_rng(5, 7, 3, BURN_IN).bit_generator.random_raw(4)
    plain = np.random.Philox(key=[5, 7], counter=[0, 0, 3, BURN_IN])
    assert (by_block == plain.random_raw(4)).all()


def test_repacked_file_is_one_and_holds_the_same(model, reference, tmp_path):
    here(model, "-o", tmp_path / "g.h5", *SMALL, "--velocities")
    here(
        model, "-o", tmp_path / "g.h5", *SMALL, "--velocities", "--repack", tmp_path / "one.h5"
    )  # fmt: skip
    with Trajectory(tmp_path / "g.h5") as parts, Trajectory(tmp_path / "one.h5") as one:
        assert not one.file["particles/trajectory/position/value"].is_virtual
        assert one.positions().tobytes() == reference.tobytes()
        assert one.velocities().tobytes() == parts.velocities().tobytes()
        assert one.times_ps.tolist() == parts.times_ps.tolist()
        assert one.parameter("training_span_ps") == 40.0
        assert one.provenance == parts.provenance
        assert (one.constant_cell == np.diag([9.0, 9.0, 20.0])).all()
    refused = here(
        model, "-o", tmp_path / "g.h5", *SMALL, "--velocities", "--repack", tmp_path / "one.h5",
        expect=2,
    )  # fmt: skip
    assert "exists already" in refused.stderr


def test_dry_run_tells_the_true_size_and_makes_nothing(model, tmp_path):
    said = here(model, "-o", tmp_path / "g.h5", *SMALL, "--dry-run").stdout
    assert not list(tmp_path.iterdir())
    here(model, "-o", tmp_path / "g.h5", *SMALL)
    made = sum(f.stat().st_size for f in (tmp_path / "g.shards").iterdir())
    told = float(re.search(r"disk +([\d.e-]+) GB more", said)[1]) * 1e9
    assert told == pytest.approx(made, rel=0.4)  # small parts are aligned to 1 MiB
    assert "records/s" in said


def test_what_the_disk_cannot_hold_is_refused_before_anything_is_made(model, tmp_path):
    large = "--particles", 10_000_000, "--records", 1_000_000_000
    for extra in ((), ("--dry-run",)):
        refused = here(model, "-o", tmp_path / "g.h5", *large, *extra, expect=1)
        assert "GB free" in refused.stderr
    assert not (tmp_path / "g.h5").exists()


def test_other_readers_open_it(model, reference, tmp_path):
    import MDAnalysis
    import pyh5md

    here(model, "-o", tmp_path / "g.h5", *SMALL)
    universe = MDAnalysis.Universe.empty(150, trajectory=False)
    universe.load_new(str(tmp_path / "g.h5"), format="H5MD")
    assert len(universe.trajectory) == 450
    frame = universe.trajectory[449]
    np.testing.assert_array_equal(frame.positions, reference[449])
    assert frame.time == pytest.approx(3.6)
    with pyh5md.File(str(tmp_path / "g.h5"), "r") as file:
        position = pyh5md.element(file["particles/trajectory"], "position")
        np.testing.assert_array_equal(position.value[3], reference[3])


def test_a_block_whose_ledger_is_damaged_is_told_and_computed_again(model, reference, tmp_path):
    here(model, "-o", tmp_path / "g.h5", *SMALL)
    with h5py.File(tmp_path / "g.shards/part-00000.h5", "r+") as part:
        slots = part["parameters/ledger/carry"]
        slots[1] = slots[1] + np.uint8(1)
        part["particles/trajectory/position/value"][:, 64:128] = 0
    said = here(model, "-o", tmp_path / "g.h5", *SMALL).stderr
    assert "of 1 of 3 particle blocks it is not known how far they got" in said
    assert stored(tmp_path / "g.h5").tobytes() == reference.tobytes()
    assert "not known" not in here(model, "-o", tmp_path / "g.h5", *SMALL).stderr


def test_a_part_of_another_generation_or_place_is_refused(model, tmp_path):
    for name, seed in (("g", 0), ("h", 1)):
        here(model, "-o", tmp_path / f"{name}.h5", *SMALL, "--seed", seed, "--files", 2)
    first, second = (tmp_path / f"g.shards/part-0000{k}.h5" for k in (0, 1))
    own = first.read_bytes()
    for wrong in (tmp_path / "h.shards/part-00000.h5", second):
        first.write_bytes(wrong.read_bytes())
        with pytest.raises(DataError, match="another generated file, or another part of this one"):
            Trajectory(tmp_path / "g.h5")
        told = here(model, "-o", tmp_path / "g.h5", *SMALL, "--files", 2, expect=1).stderr
        assert "part-00000.h5: is a part of another" in told
    first.write_bytes(own)
    here(model, "-o", tmp_path / "g.h5", *SMALL, "--files", 2)
    with Trajectory(tmp_path / "g.h5") as t:
        assert t.complete


def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_later(tmp_path):
    namespace = ["unshare", "--mount", "--map-root-user", "--user"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here: a small disk cannot be made")
    script = Path(__file__).with_name("full_disk.py")
    done = subprocess.run(
        [*namespace, sys.executable, script, tmp_path],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "went on" in done.stdout


def test_stripes_are_asked_of_lfs_and_missing_ones_are_told(model, tmp_path, monkeypatch):
    options = "--stripe-count", 4, "--stripe-size", 2, "--alignment", 0.0625
    (tmp_path / "bin").mkdir()
    lfs = tmp_path / "bin/lfs"
    lfs.write_text('#!/bin/sh\necho "$@" >>"$LFS_CALLS"\nfor last; do :; done\n: >"$last"\n')
    lfs.chmod(0o755)
    monkeypatch.setenv("LFS_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    here(model, "-o", tmp_path / "g.h5", *SMALL, *options)
    call = (tmp_path / "calls").read_text()
    assert call.startswith("setstripe -c 4 -S 2097152")
    assert "part-00000.h5" in call
    with h5py.File(tmp_path / "g.shards/part-00000.h5") as part:
        chunk = part["particles/trajectory/position/value"].id.get_chunk_info(0)
        assert chunk.byte_offset % 2**16 == 0
    lfs.unlink()
    said = here(model, "-o", tmp_path / "h.h5", *SMALL, *options).stderr
    assert "stripes cannot be set (there is no lfs command)" in said


@needs_mpio
def test_mpi_hints_reach_the_parallel_file(model, reference, tmp_path):
    options = "--storage", "mpio", "--mpi-hint", "romio_cb_write=disable"
    generate(model, "-o", tmp_path / "g.h5", *SMALL, *options, ranks=2, mpio=True)
    assert stored(tmp_path / "g.h5").tobytes() == reference.tobytes()


def test_wide_blocks_are_stored_in_narrow_chunks(tmp_path):
    model = model_file(tmp_path)
    options = "--particles", 1100, "--records", 40, "--block-particles", 768, "--block-records", 10
    here(model, "-o", tmp_path / "g.h5", *options)
    expected = naive(model, 1100, 40, 768, 10)
    assert stored(tmp_path / "g.h5").tobytes() == expected.tobytes()
    with Trajectory(tmp_path / "g.h5") as file:
        assert file.chunk == (1360, 256)  # 136 segments of 10 records


@needs_mpio
def test_a_single_parallel_file_is_extended_too(model, reference, tmp_path):
    options = "-o", tmp_path / "g.h5", "--storage", "mpio", *SMALL[4:]
    small = "--particles", 100, "--records", 130
    generate(model, *options, *small, ranks=1, mpio=True)
    assert stored(tmp_path / "g.h5").tobytes() == reference[:130, :100].tobytes()
    generate(model, *options, *SMALL[:4], ranks=2, mpio=True)
    assert stored(tmp_path / "g.h5").tobytes() == reference.tobytes()


def network(folder):
    """A model file of the default kind, with random weights."""
    lags, step = 12, 3
    torch.manual_seed(0)
    generator = TransitionGenerator.create(
        TransitionConfig(hidden=96, components=3, head=64),
        extrapolation=(0.5 * np.eye(step, lags)).tolist(),
        whitening=(np.eye(step) / 0.03).tolist(),
        mean_bounds=[1.0] * step,
        combinations=(np.eye(4, lags) / 0.05).tolist(),
        one_record=0.05,
        ema_steps=[8.0, 24.0],
        ema_scales=[0.5, 1.0],
        rotations=[np.eye(3).tolist(), (-np.eye(3)).tolist()],
        translations=[[0.0, 0.0, 0.0]] * 2,
        primitive=(8 * np.eye(3)).tolist(),
    )
    save_model(folder / "model.pt", Model(generator, 0.008, 3, 8 * np.eye(3)))
    return folder / "model.pt"


def test_bf16_stays_near_float32_and_is_exact_when_extended(tmp_path):
    model, paths = network(tmp_path), {}
    options = "--particles", 32, "--block-records", 30
    for name, precision, records in (
        ("full", "float32", [60]),
        ("half", "bf16", [60]),
        ("twice", "bf16", [40, 60]),
    ):
        for n in records:
            arguments = "--precision", precision, "--records", n
            command = ["--workers", 1, model, "-o", tmp_path / f"{name}.h5", *options, *arguments]
            done = CliRunner().invoke(main, [str(word) for word in command])
            assert done.exit_code == 0, done.output
        paths[name] = stored(tmp_path / f"{name}.h5")
    assert paths["half"].tobytes() == paths["twice"].tobytes()
    assert paths["half"].tobytes() != paths["full"].tobytes()
    msd = {name: ((x[10:] - x[:-10]) ** 2).sum(-1).mean() for name, x in paths.items()}
    assert msd["half"] == pytest.approx(msd["full"], rel=0.1)


@needs_mpi
def test_the_default_network_gives_the_same_bits_on_any_number_of_processes(tmp_path):
    options = "--particles", 700, "--records", 300, "--block-records", 129
    command = [sys.executable, "-m", "mdgan_hpc.cli.generate", network(tmp_path), *options]
    mpiexec = Path(sys.executable).with_name("mpiexec")
    outputs = []
    for name, threads, start in (
        ("one", "2", [*command, "--workers", 1]),
        ("two", "1", [*command, "--workers", 2]),
        ("three", "1", [mpiexec, "-n", 3, *command]),
    ):
        outputs.append(tmp_path / f"{name}.h5")
        line = [str(word) for word in (*start, "-o", outputs[-1])]
        threaded = environment() | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        subprocess.run(line, env=threaded, check=True, capture_output=True)
    first, *others = (stored(output).tobytes() for output in outputs)
    assert all(other == first for other in others)
    assert np.isfinite(stored(outputs[0])).all()


def change_settings(path, **changes):
    """Rewrite what an output says it was made with."""
    with h5py.File(path, "r+") as file:
        settings = json.loads(file[SETTINGS][()]) | changes
        del file[SETTINGS]
        file[SETTINGS] = json.dumps(settings)
        seal_parameters(file)
    for part in path.with_suffix(".shards").glob("*.h5"):
        with h5py.File(part, "r+") as file:
            told = layout.generation_of(settings, part.name)
            file[layout.LEDGER].attrs[layout.GENERATION] = told


def test_an_output_of_another_behaviour_is_refused_and_of_another_version_told(model, tmp_path):
    here(model, "-o", tmp_path / "g.h5", *SMALL)
    change_settings(tmp_path / "g.h5", libraries={"mdgan_hpc": "0.0.1"})
    said = here(model, "-o", tmp_path / "g.h5", *SMALL).stderr
    assert "begun with {'mdgan_hpc': '0.0.1'}" in said
    change_settings(tmp_path / "g.h5", behaviour="cage 7")
    refused = here(model, "-o", tmp_path / "g.h5", *SMALL, expect=2).stderr
    assert "moves ions differently (cage 7, now cage 1)" in refused
    change_settings(tmp_path / "g.h5", behaviour=None)
    assert "before 0.2" in here(model, "-o", tmp_path / "g.h5", *SMALL, expect=2).stderr


def test_a_file_says_what_made_it(model, tmp_path):
    here(model, "-o", tmp_path / "g.h5", *SMALL)
    with Trajectory(tmp_path / "g.h5") as file:
        assert file.parameter("generator_label") == "cage"


def test_from_python_off_the_main_thread_and_from_an_unguarded_script(model, reference, tmp_path):
    options = {"particles": 150, "records": 450, "block_particles": 64, "block_records": 100}
    threads, made = torch.get_num_threads(), []
    thread = threading.Thread(
        target=lambda: made.append(run.generate(model, tmp_path / "g.h5", workers=1, **options))
    )
    thread.start()
    thread.join()
    assert made == [tmp_path / "g.h5"]
    assert torch.get_num_threads() == threads
    assert stored(made[0]).tobytes() == reference.tobytes()
    script = tmp_path / "script.py"
    script.write_text(
        "from mdgan_hpc.generate.run import generate\n"
        f"print(generate({str(model)!r}, {str(tmp_path / 'h.h5')!r}, workers=2, **{options}))\n"
    )
    done = subprocess.run(
        [sys.executable, script], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "h.h5")]
    assert stored(tmp_path / "h.h5").tobytes() == reference.tobytes()
