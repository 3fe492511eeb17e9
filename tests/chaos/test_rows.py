"""What once broke a command, each in its own test: one line now, with the place in it."""

import io
import json
import os
import shutil

import h5py
import numpy as np
import pytest
import torch

from mdgan_hpc import hdf5
from mdgan_hpc.digests import unsealed
from mdgan_hpc.errors import DataError
from mdgan_hpc.models.file import load_model, save_model
from mdgan_hpc.results import load_results
from mdgan_hpc.trajectory.blocks.ledger import read_progress
from mdgan_hpc.trajectory.blocks.plan import read_plan
from mdgan_hpc.trajectory.blocks.writers import Piece, ShardWriter
from tests.support.chaos.material import GENERATE
from tests.support.motion import brownian, write


def refused(outcome, *words):
    assert not outcome.wrong()
    assert outcome.status in (1, 2), outcome.told
    for word in words:
        assert word in outcome.told


def change(path, name, value):
    """Put another value in a dataset; the file is taken for one without digests."""
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = value
        file["parameters"].attrs.pop("sha256", None)


def test_a_framework_that_is_no_number(commands, material):
    """Once a segmentation fault."""
    positions = np.full((8, 3), np.nan)
    change(material.run, "parameters/framework/position", positions)
    out = material.folder / "new.json"
    where = "parameters/framework/position: holds values that are no numbers"
    refused(commands("msd", material.run, "-o", out), where)
    new = material.folder / "new"
    refused(commands("train", material.config, "--data", material.run, "--out", new), where)


def test_a_constant_changed_behind_the_digest(commands, material):
    with h5py.File(material.generated, "r+") as file:
        file["parameters/simulated_together"][...] = 4
    told = commands("msd", material.generated, "-o", material.folder / "new.json")
    refused(told, "parameters: is damaged: its content does not match its digest")


def test_a_bit_in_a_weight(commands, material):
    weights = torch.load(material.model, weights_only=True)["weights"]
    weight = next(w for w in weights.values() if w.numel() > 1000)
    content = bytearray(material.model.read_bytes())
    content[content.find(weight.numpy().tobytes()) + 400] ^= 4
    material.model.write_bytes(content)
    told = commands("generate", material.model, "-o", material.folder / "new.h5", *GENERATE)
    refused(told, "does not match its digest")


def test_models_without_a_seal_are_read(material):
    body = unsealed(material.model.read_bytes(), material.model)
    assert len(body) < material.model.stat().st_size
    material.model.write_bytes(body)
    assert load_model(material.model).species == 3


@pytest.mark.parametrize("tail", [b"\n\xff\n[]\n" + bytes(200), b'{"step": 15, "likel'])
def test_a_damaged_tail_of_the_metrics(commands, chaos, material, tail):
    (material.training / "model.pt").unlink()
    metrics = material.training / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes() + tail)
    line = (material.config, "--data", material.run, "--out", material.training)
    done = commands("train", *line)
    assert done.status == 0, done.told
    steps = [json.loads(text)["step"] for text in metrics.read_text().splitlines()]
    assert steps == [5, 10, 15, 20]
    assert chaos.same_model(material)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"config": 3}', "\0" * 50, "[" * 10**5])
def test_a_damaged_record_of_a_training(commands, material, text):
    (material.training / "model.pt").unlink()
    (material.training / "config.json").write_text(text)
    line = (material.config, "--data", material.run, "--out", material.training)
    refused(commands("train", *line), "config.json", "choose another folder for --out")


def test_what_leads_out_of_a_file_is_not_followed(commands, material):
    pipe = material.folder / "pipe"
    os.mkfifo(pipe)
    ways = {
        "is a link to another file": lambda f, n: f.__setitem__(n, h5py.ExternalLink("pipe", "/a")),
        "keeps its content in another file": lambda f, n: f.create_dataset(
            n, (400, 8, 3), "f4", external=[(str(pipe), 0, 400 * 8 * 12)]
        ),
        "which is none of its parts": lambda f, n: f.create_virtual_dataset(n, _joined("pipe")),
        "which holds no data": lambda f, n: f.create_virtual_dataset(n, _joined(".", n)),
        "leads nowhere": lambda f, n: f.__setitem__(n, h5py.SoftLink("/nowhere")),
    }
    for said, make in ways.items():
        path = material.folder / "led.h5"
        shutil.copy(material.run, path)
        with h5py.File(path, "r+") as file:
            del file["particles/trajectory/position/value"]
            make(file, "particles/trajectory/position/value")
        told = commands("msd", path, "-o", material.folder / "new.json", timeout_s=60)
        refused(told, said, "particles/trajectory/position/value")
    for command, line in (
        ("msd", (pipe, "-o", material.folder / "new.json")),
        ("convert", (pipe, "--info")),
        ("generate", (pipe, "-o", material.folder / "new.h5")),
        ("train", (pipe, "--show-config")),
        ("train", (material.config, "--data", pipe, "--out", material.folder / "new")),
        ("msd", ("--arrhenius", f"300={pipe}", "-o", material.folder / "new.json")),
    ):
        refused(commands(command, *line, timeout_s=60), "is a pipe or a device")


def test_a_part_that_leads_elsewhere(commands, material):
    """The files of a generated trajectory are looked at like the one that names them."""
    part, name = material.folder / "gen.shards/part-00000.h5", "parameters/ledger/completed_records"
    pipe = part.with_name("pipe")
    os.mkfifo(pipe)
    whole = part.read_bytes()
    for said, make in {
        "keeps its content in another file": lambda f: f.create_dataset(
            name, (2,), "i8", external=[(str(pipe), 0, 16)]
        ),
        "which holds no data": lambda f: f.create_virtual_dataset(name, _joined(".", name)),
    }.items():
        part.write_bytes(whole)
        with h5py.File(part, "r+") as file:
            del file[name]
            make(file)
        told = commands("msd", material.generated, "-o", material.folder / "o.json", timeout_s=60)
        refused(told, said)


def test_lists_where_one_text_is_needed(commands, material, tmp_path):
    part = material.folder / "gen.shards/part-00000.h5"
    for path, name, attribute in (
        (part, "parameters/ledger", "generation"),
        (material.run, "parameters", "sha256"),
        (material.run, "particles/trajectory/position/value", "unit"),
    ):
        whole = path.read_bytes()
        with h5py.File(path, "r+") as file:
            assert attribute in file[name].attrs, list(file[name].attrs)
            file[name].attrs[attribute] = ["a", "b"]
        target = material.generated if path == part else path
        told = commands("msd", target, "-o", tmp_path / "new.json", "--species", "Li")
        refused(told, f"has the attribute {attribute} ['a' 'b'], no text")
        path.write_bytes(whole)
    with h5py.File(material.run, "r+") as file:
        file["particles/trajectory/position/value"].attrs["unit"] = ["Angstrom"]
    told = commands("msd", material.run, "-o", tmp_path / "new.json", "--species", "Li")
    assert told.status == 0, told.told


def test_a_ledger_that_claims_more_than_its_file(commands, material):
    with h5py.File(material.generated, "r+") as file:
        del file["parameters/ledger/completed_records"]
        file["parameters/ledger"].create_dataset("completed_records", (10**9,), "i4")
    told = commands("msd", material.generated, "-o", material.folder / "new.json")
    refused(told, "completed_records: claims 4e+03 MB")
    assert told.memory < 2**30


def test_a_part_of_another_layout_is_not_written(commands, material):
    part, name = material.folder / "gen.shards/part-00000.h5", "particles/trajectory/position/value"
    with h5py.File(part, "r+") as file:
        positions = file[name][:]
        del file[name]
        file.create_dataset(name, data=positions, compression="gzip")
    plan, _ = read_plan(material.generated)
    writer = ShardWriter(material.generated, plan, read_progress(material.generated, plan))
    piece = Piece(0, 0, 1, [np.zeros((1, 4, 3))], b"")
    with pytest.raises(DataError, match="is not laid out as it was made"):
        writer.write(piece)


def test_a_bit_in_the_place_of_a_chunk(commands, material):
    """Once other positions without a word."""
    part = material.folder / "gen.shards/part-00000.h5"
    with h5py.File(part) as file:
        dataset = file["particles/trajectory/position/value"]
        place = dataset.id.get_chunk_info(1).byte_offset
    content = bytearray(part.read_bytes())
    content[content.find(place.to_bytes(8, "little"))] ^= 4
    part.write_bytes(content)
    told = commands("msd", material.generated, "-o", material.folder / "o.json")
    refused(told, "position/value: is damaged: its chunks are not where they were made")


def test_rows_of_another_shape(commands, material):
    """Once a segmentation fault in HDF5."""
    with h5py.File(material.generated, "r+") as file:
        rows = file["particles/trajectory/box/edges/rows"][:]
        del file["particles/trajectory/box/edges/rows"]
        file["particles/trajectory/box/edges/rows"] = rows[None]
    told = commands("msd", material.generated, "-o", material.folder / "o.json")
    refused(told, "box/edges/rows: holds records of the shape (1, 108, 3, 3)")


def test_a_text_longer_than_its_file(commands, material):
    """Once four gigabytes."""
    with h5py.File(material.hdf5) as file:
        at = file["species"].id.get_offset()
    content = bytearray(material.hdf5.read_bytes())
    content[at : at + 4] = b"\xff\xff\xff\xff"
    material.hdf5.write_bytes(content)
    given = ("--arrhenius", f"300={material.hdf5}", "--arrhenius", f"400={material.json}")
    told = commands("msd", *given, "-o", material.folder / "new.json")
    refused(told, "claims a text of 4.29e+03 MB")
    assert told.memory < 2**30


def test_numbers_like_the_address_of_a_heap_are_no_text(tmp_path):
    path = tmp_path / "numbers.h5"
    with h5py.File(path, "w") as file:
        file.attrs["unit"] = "Angstrom"
        file["numbers"] = np.arange(12)
    heap = path.read_bytes().index(b"GCOL\x01\0\0\0")
    with h5py.File(path, "r+") as file:
        file["numbers"][:3] = -1, heap, 5
    with hdf5.open_file(path) as file:
        assert file["numbers"][1] == heap


@pytest.mark.parametrize("before", [7, -1])
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_part_of_a_number_like_the_address_of_a_heap_is_no_text(tmp_path, before, shift):
    """Once a report of ours was refused by chance: a place in it was 256 times that of its heap."""
    path = tmp_path / "numbers.h5"
    with h5py.File(path, "w") as file:
        file.attrs["unit"] = "Angstrom"
        file["numbers"] = np.arange(12)
    heap = path.read_bytes().index(b"GCOL\x01\0\0\0")
    place = (heap << 8 * shift) + (0x8C << 8 * (shift - 1))
    with h5py.File(path, "r+") as file:
        file["numbers"][:3] = before, place, 1 << 8 * shift  # the text has the number 1
    assert heap.to_bytes(8, "little") + b"\1\0\0\0" in path.read_bytes()
    os.truncate(path, place + 1)  # with nothing in between
    with hdf5.open_file(path) as file:
        assert file["numbers"][1] == place


@pytest.mark.parametrize("length", [b"\xfc\xff\xff\xff", b"\x08\0\0\x8c"])
def test_a_damaged_length_is_not_taken_for_a_number(tmp_path, length):
    path = tmp_path / "text.h5"
    with h5py.File(path, "w") as file:
        file["text"] = "Angstrom"
        file["long"] = np.zeros(10**6)
        at = file["text"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[at : at + 4] = length
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"byte {at}: is damaged: claims a text"):
        hdf5.open_file(path)


def test_a_text_in_the_middle_of_a_file(tmp_path):
    """Far from both ends, where no heap is looked for."""
    path, far = tmp_path / "large.h5", np.zeros(10**5)
    with h5py.File(path, "w") as file:
        file["before"] = far
        file["text"] = "told"
        file["after"] = far
        at = file["text"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with (
        hdf5.open_file(path) as file,
        pytest.raises(DataError, match=r"text: claims a text of 4\.29e\+03 MB"),
    ):
        hdf5.text(file["text"])


def test_an_attribute_longer_than_its_file(commands, material):
    """Once four gigabytes of memory, and then a word about the heap."""
    with h5py.File(material.mixed) as file:
        unit = file["particles/trajectory/position/value"].attrs["unit"]
    content = bytearray(material.mixed.read_bytes())
    heap = content.index(b"GCOL\x01\0\0\0").to_bytes(8, "little")
    # Length of the text, where its heap begins, and its number there.
    at = content.index(len(unit).to_bytes(4, "little") + heap)
    content[at : at + 4] = b"\xff\xff\xff\xfc"
    material.mixed.write_bytes(content)
    out = ("--export", "npz", "-o", material.folder / "new.npz")
    told = commands("convert", material.mixed, *out)
    refused(told, f"byte {at}: is damaged: claims a text of 4.24e+03 MB")
    assert told.memory < 2**30


def test_what_a_virtual_dataset_is_made_of(tmp_path):
    """Once the end of the process (SIGSEGV): HDF5 reads it before it looks at the checksum."""
    path = tmp_path / "virtual.h5"
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["x"] = np.arange(6.0)
    for n_parts in range(1, 6):  # of all lengths, modulo the twelve bytes that are summed at a time
        with h5py.File(path, "w") as file:
            layout = h5py.VirtualLayout((n_parts, 6), float)
            for number in range(n_parts):
                layout[number] = h5py.VirtualSource("part.h5", n_parts * "x", (6,))
            file.create_virtual_dataset("whole", layout)
        with hdf5.open_file(path) as file:
            assert file["whole"].shape == (n_parts, 6)
    content = path.read_bytes()
    begin = content.index(b"GCOL\x01\0\0\0")
    length = int.from_bytes(content[begin + 24 : begin + 32], "little")
    for at in range(begin + 32, begin + 32 + length, 5):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"byte {begin}: is damaged: what a virtual dataset"):
            hdf5.open_file(path)


@pytest.mark.parametrize("output", [".", "/", ".."])
def test_an_output_that_is_a_folder(commands, material, output):
    told = commands("generate", material.model, "-o", material.folder / "n.h5", "--repack", output)
    refused(told, f"{output}: is a folder; name a file")


@pytest.mark.parametrize("format", ["extxyz", "npz"])
def test_positions_that_are_no_numbers_are_not_exported(commands, material, format):
    with h5py.File(material.run, "r+") as file:
        file["particles/trajectory/position/value"][7, 3, 1] = np.nan
    line = ("--export", format, "-o", material.folder / "new")
    refused(commands("convert", material.run, *line), "run.h5, record 7: holds positions that are")


def test_a_model_that_asks_for_more_than_its_file_holds(commands, material):
    content = torch.load(io.BytesIO(unsealed(material.model.read_bytes(), "")), weights_only=True)
    content["configuration"]["hidden"] = 50_000
    torch.save(content, material.model)
    told = commands("generate", material.model, "-o", material.folder / "new.h5", *GENERATE)
    refused(told, "holds a network of another version")
    assert told.memory < 2**30


def _joined(source, name="a"):
    layout = h5py.VirtualLayout((400, 8, 3), "f4")
    layout[...] = h5py.VirtualSource(source, name, (400, 8, 3), "f4")
    return layout


@pytest.mark.parametrize("options", [{}, {"chunks": (100, 8, 3)}, {"compression": "gzip"}])
def test_a_claimed_axis_of_a_billion(commands, material, options):
    name = "particles/trajectory/position/value"
    with h5py.File(material.run, "r+") as file:
        del file[name]
        file.create_dataset(name, (10**9, 8, 3), "f4", **options).attrs["unit"] = "Angstrom"
    told = commands("msd", material.run, "-o", material.folder / "new.json")
    refused(told, "claims 9.6e+04 MB", name)


@pytest.mark.parametrize("interval", [float("nan"), 0.0, -1.0, 10**30, "0.01", None])
def test_a_model_without_a_possible_interval(commands, material, interval):
    model = load_model(material.model)
    model.record_interval_ps = interval
    save_model(material.model, model)
    told = commands("generate", material.model, "-o", material.folder / "new.h5", *GENERATE)
    refused(told, "record_interval_ps is", "which cannot be")


@pytest.mark.parametrize("name", ["behaviour", "kind", "version"])
def test_a_model_that_tells_no_generator(commands, material, name):
    content = torch.load(io.BytesIO(unsealed(material.model.read_bytes(), "")), weights_only=True)
    content[name] = torch.zeros(3)
    torch.save(content, material.model)
    told = commands("generate", material.model, "-o", material.folder / "new.h5", *GENERATE)
    refused(told, f"{name} is a Tensor, which cannot be")


@pytest.mark.parametrize("d", ["nan", "null", "-1.0", '"text"', "[1.0]", "1e999"])
def test_no_number_in_a_result(commands, material, d):
    tree = json.loads(material.json.read_text())
    del tree["sha256"]
    tree["diffusion"]["total"]["d_angstrom2_per_ps"] = "HERE"
    material.json.write_text(json.dumps(tree).replace('"HERE"', d))
    given = ("--arrhenius", f"300={material.json}", "--arrhenius", f"400={material.hdf5}")
    refused(commands("msd", *given, "-o", material.folder / "new.json"), str(material.json))


def test_a_result_changed_by_hand(commands, material):
    text = material.json.read_text()
    tree = json.loads(text)
    tree["diffusion"]["total"]["d_angstrom2_per_ps"] *= 1.01
    material.json.write_text(json.dumps(tree))
    given = ("--arrhenius", f"300={material.json}", "--arrhenius", f"400={material.hdf5}")
    out = ("-o", material.folder / "new.json")
    refused(commands("msd", *given, *out), "does not match its digest", "take its sha256 out")
    del tree["sha256"]
    material.json.write_text(json.dumps(tree))
    assert commands("msd", *given, *out).status == 0
    # The layout of the text does not matter.
    material.json.write_text(json.dumps(json.loads(text)))
    assert "diffusion" in load_results(material.json)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("particles/trajectory/position/time", np.r_[np.arange(399) * 0.01, np.nan]),
        ("particles/trajectory/species/value", np.full((400, 8), -3)),
        ("parameters/simulated_together", 0),
        ("parameters/simulated_together", 2.5),
        ("parameters/simulated_together", "all"),
    ],
)
def test_values_that_cannot_be(commands, material, name, value):
    with h5py.File(material.run, "r+") as file:
        if name in file:
            unit = dict(file[name].attrs)
            del file[name]
        else:
            unit = {}
        file[name] = value
        file[name].attrs.update(unit)
        file["parameters"].attrs.pop("sha256", None)
    refused(commands("msd", material.run, "-o", material.folder / "new.json"), "run.h5")
    line = (material.config, "--data", material.run, "--out", material.folder / "new")
    refused(commands("train", *line), "run.h5")


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 10**5, "a = " + "9" * 5000, "[train]\nseed = " + "9" * 4000, "\xff" * 10]
    + ["[train]\nseed = 18446744073709551616", "[[phase]]\nlearning_rate = nan"],
)
def test_strange_configurations(commands, material, text):
    material.config.write_bytes(text.encode("latin-1"))
    refused(commands("train", material.config, "--show-config"), str(material.config))


@pytest.mark.parametrize(
    "line",
    [
        ("--set", "train.seed=" + "9" * 5000),
        ("--set", "phase=" + "[" * 10**5),
        ("--set", f"phase.{'9' * 5000}.steps=2"),
        ("--set", "phase.².steps=2"),
        ("--set", "phase.learning_rate=inf"),
    ],
)
def test_strange_overrides(commands, material, line):
    refused(commands("train", material.config, "--show-config", *line))


@pytest.mark.parametrize("line", [("--replicas", 10**30), ("--species", "9" * 5000)])
def test_numbers_that_no_option_can_have(commands, material, line):
    refused(
        commands("train", "--data", material.run, "--out", material.folder / "new", *line),
        line[0][2:9],
    )


def test_an_alignment_that_no_file_can_have(commands, material):
    out = ("-o", material.folder / "new.h5", "--alignment", "9" * 30)
    refused(commands("generate", material.model, *out), "--alignment")


@pytest.mark.parametrize("seed", [2**64, 10**400, -1])
def test_a_seed_out_of_range(commands, material, seed):
    out = material.folder / "new.h5"
    refused(commands("generate", material.model, "-o", out, "--seed", seed), "--seed")


def test_a_single_record_analysed(commands, material):
    out = material.folder / "new.h5"
    line = ("--particles", 8, "--records", 1, "--analyse", "--workers", 1)
    refused(commands("generate", material.model, "-o", out, *line), "shows no motion")


def test_advice_on_motion_that_tells_nothing(commands, tmp_path):
    still = write(tmp_path / "still.h5", np.zeros((400, 4, 3)), interval=0.01)
    refused(commands("train", "--advise", "--data", still), "do not move")
    short = write(tmp_path / "short.h5", brownian(4, 4, np.random.default_rng(0)))
    refused(commands("train", "--advise", "--data", short), "4 frames is too short")
    walk = write(tmp_path / "walk.h5", brownian(3000, 1, np.random.default_rng(0)))
    advice = commands("train", "--advise", "--data", walk)
    fit = commands("msd", walk, "-o", tmp_path / "msd.json")
    assert advice.status == fit.status == 0, advice.told + fit.told
    has_d = load_results(tmp_path / "msd.json")["diffusion"].get("total") is not None
    assert has_d == ("cannot answer" not in advice.told)


def test_provenance_of_an_input_by_absolute_path_lies_in_its_place(commands, material):
    out = material.folder / "new.h5"
    done = commands("msd", material.run, "-o", out)
    assert done.status == 0, done.told
    assert material.run.is_absolute()
    assert any(str(material.run) in str(i) for i in load_results(out)["provenance"]["inputs"])
    with h5py.File(out) as file:
        assert material.run.parts[1] not in file


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_file_that_was_cut_is_called_damaged(commands, material, share):
    """Not locked: HDF5 speaks of a superblock."""
    content = material.run.read_bytes()
    material.run.write_bytes(content[: int(share * len(content))])
    told = commands("msd", material.run, "-o", material.folder / "new.json")
    refused(told, "is not an HDF5 file, or is damaged")
    assert "locked" not in told.told


def test_names_that_are_no_text(commands, material):
    """A name of a file system may hold any bytes; what is printed has escapes in their place."""
    odd = material.folder / os.fsdecode(b"l\xe4uf 1 %s\n\xff")
    odd.mkdir()
    run = shutil.copy(material.run, odd / "run.h5")
    for name in ("msd.json", "msd.h5"):
        done = commands("msd", run, "-o", odd / name)
        assert done.status == 0, done.told
        assert "\\udcff" in done.told
        assert "curves" in load_results(odd / name)
    refused(commands("msd", odd / "none.h5", "-o", odd / "b.json"), "\\udcff/none.h5")


def test_md_given_as_generated_is_refused(commands, material):
    copy = shutil.copy(material.run, material.folder / "copy.h5")
    line = ("--md", material.run, "--generated", copy, "-o", material.folder / "new")
    refused(commands("report", *line), "is the same run as")
