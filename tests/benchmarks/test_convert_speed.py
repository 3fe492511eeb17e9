"""Speed of reading, in one run on one core, against ASE, sisl and the disk.

pytest -m benchmark tests/benchmarks/test_convert_speed.py -s
"""

import gzip
import itertools
import os
import struct
import time

import netCDF4
import numpy as np
import pytest
import sisl
from ase.io import iread

from mdgan_hpc.convert.conversion import convert_run
from mdgan_hpc.convert.settings import ConvertConfig
from mdgan_hpc.convert.sources.siesta.ani import AniFile
from mdgan_hpc.convert.sources.siesta.md import MdFile
from mdgan_hpc.convert.sources.siesta.mdnc import MdNcFile
from mdgan_hpc.convert.streams import Stream
from tests.support.foreign import write_dump

pytestmark = pytest.mark.benchmark

N_ATOMS = 216
N_FRAMES = 6000
#: Frames that the slow readers get: their rate does not depend on the number.
FEW = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with one trajectory of 216 atoms in every form."""
    path = tmp_path_factory.mktemp("speed")
    generator = np.random.default_rng(1)
    start = generator.uniform(-20, 30, (N_ATOMS, 3))
    frame = f"{N_ATOMS:5d}\n\n" + "Li  %12.6f%12.6f%12.6f\n" * N_ATOMS
    marker = struct.pack("<i", 4 + 48 * N_ATOMS)
    with (
        open(path / "a.ANI", "w", encoding="ascii") as ani,
        open(path / "few.ANI", "w", encoding="ascii") as few,
        open(path / "a.MD", "wb") as md,
        netCDF4.Dataset(path / "a.MD.nc", "w", format="NETCDF3_CLASSIC") as nc,
    ):
        for name, size in (("xyz", 3), ("abc", 3), ("atom", N_ATOMS), ("step", None)):
            nc.createDimension(name, size)
        for name in ("isa", "iza"):
            nc.createVariable(name, "i4", ("atom",))[:] = 3
        for name in ("temp", "psol", "eks", "etot", "volume"):
            nc.createVariable(name, "f8", ("step",))
        for name, across in (("xa", "atom"), ("va", "atom"), ("cell", "abc"), ("vcell", "abc")):
            nc.createVariable(name, "f8", ("step", across, "xyz"))
        for i in range(N_FRAMES):
            x = start + generator.normal(scale=0.3, size=start.shape)
            text = frame % tuple(x.ravel().tolist())
            ani.write(text)
            if i < FEW:
                few.write(text)
            md.write(marker + struct.pack("<i", i + 1) + x.tobytes() + x.tobytes() + marker)
            nc["xa"][i], nc["va"][i] = x, x
            nc["cell"][i] = nc["vcell"][i] = np.eye(3)
            for name in ("temp", "psol", "eks", "etot", "volume"):
                nc[name][i] = 1.0
    for name in ("a.ANI", "few.ANI"):
        with gzip.open(path / f"{name}.gz", "wb", compresslevel=6) as out:
            out.write((path / name).read_bytes())
    return path


def rate(frames, count=None):
    """Return frames a second of an iterator of frames or pieces."""
    begin = time.perf_counter()
    n = sum(len(f) if count is None else 1 for f in itertools.islice(frames, count))
    return n / (time.perf_counter() - begin)


def best(measure, times=3):
    return max(measure() for _ in range(times))


def sisl_rate(path):
    begin = time.perf_counter()
    geometries = sisl.get_sile(path).read_geometry[:]()
    return len(geometries) / (time.perf_counter() - begin)


@pytest.mark.parametrize("end", ["", ".gz"])
def test_ani(folder, end):
    """At least 10 times ASE's extxyz reader and 20 times sisl's."""
    ours = best(lambda: rate(AniFile(Stream(folder / f"a.ANI{end}")).frames()))
    ase = best(lambda: rate(iread(folder / f"few.ANI{end}", format="extxyz"), FEW), 2)
    theirs = best(lambda: sisl_rate(folder / f"few.ANI{end}"), 2)
    print(
        f"\n.ANI{end}, {N_ATOMS} atoms: {ours:.0f} frames/s, ASE {ase:.0f} (x{ours / ase:.0f}), "
        f"sisl {theirs:.0f} (x{ours / theirs:.0f})"
    )
    assert ours >= 10 * ase
    assert ours >= 20 * theirs


@pytest.mark.parametrize(("name", "reader"), [("a.MD", MdFile), ("a.MD.nc", MdNcFile)])
def test_binary(folder, name, reader):
    """At least 70 % of the rate at which the disk itself is read, page cache dropped."""
    path = folder / name
    size = path.stat().st_size

    def dropped():
        with open(path, "rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def disk():
        dropped()
        begin = time.perf_counter()
        with open(path, "rb", buffering=0) as stream:
            while stream.read(2**22):
                pass
        return size / (time.perf_counter() - begin)

    def ours():
        dropped()
        begin = time.perf_counter()
        assert sum(len(f) for f in reader(Stream(path)).frames()) == N_FRAMES
        return size / (time.perf_counter() - begin)

    pairs = [(disk(), ours()) for _ in range(5)]
    disk_rate, our_rate = (np.median(column) for column in zip(*pairs, strict=True))
    print(
        f"\n{name}: {our_rate / 1e6:.0f} MB/s, disk {disk_rate / 1e6:.0f} MB/s "
        f"({our_rate / disk_rate:.0%})"
    )
    assert our_rate >= 0.7 * disk_rate


def test_lammps_dump(tmp_path):
    """At least 1000 frames/s of 216 atoms from file to file, beside ASE's reader."""
    generator = np.random.default_rng(1)
    start = generator.uniform(0, 20, (N_ATOMS, 3))
    path = tmp_path / "a.dump"
    write_dump(
        path,
        start + generator.normal(scale=0.1, size=(2000, N_ATOMS, 3)),
        columns="id type x y z",
        length=20.0,
    )
    config = ConvertConfig(format="lammps-dump", species="Li,O", time_step_fs=1.0, drift="none")

    def ours():
        begin = time.perf_counter()
        convert_run(path, tmp_path / "a.h5", config, force=True, silent=True)
        return 2000 / (time.perf_counter() - begin)

    rate_ours = best(ours)
    ase = best(lambda: rate(iread(path, index=f":{FEW}", format="lammps-dump-text"), FEW), 2)
    print(f"\nLAMMPS dump: {rate_ours:.0f} frames/s converted, ASE reads {ase:.0f}")
    assert rate_ours >= 1000
