"""Files of GROMACS, LAMMPS, torch-sim, VASP and ASE beyond their texts.

Those of MDAnalysis, ASE and, where it is installed, torch-sim are written by the program; those of
GROMACS, LAMMPS (whose package on the registry has no ``dump h5md``) and VASP by a few lines that
follow the layout they publish (see the sources in the modules under test).
"""

import h5py
import MDAnalysis
import numpy as np
import pytest
from ase import Atoms, units
from ase.io.trajectory import Trajectory as AseTrajectory

from mdgan_hpc.errors import DataError, MdganError, UsageError
from mdgan_hpc.trajectory import Trajectory
from mdgan_hpc.trajectory.temperature import temperature_of
from tests.support.foreign import walk
from tests.support.siesta_runs import converted

#: fs between two records.
INTERVAL = 2.0
CELL = np.array([[9.0, 0.0, 0.0], [2.0, 8.0, 0.0], [-1.0, 1.5, 10.0]])
NUMBERS = np.array([3, 3, 8, 3, 8, 8])
#: kJ/mol in an eV.
KJ = units.mol / units.kJ


@pytest.fixture(scope="module")
def x():
    return walk(300, 6, pace=0.1)


@pytest.fixture(scope="module")
def v(x):
    """Velocities that belong to the walk, Angstrom/ps."""
    return np.gradient(x, INTERVAL / 1000, axis=0)


def check(source, x, output, *, v=None, forces=None, cell=CELL, numbers=NUMBERS, **options):
    """Convert a file and compare what comes of it; return the warnings."""
    _, warned = converted(source, output, drift="none", **options)
    with Trajectory(output) as t:
        # Where a folded path begins is not in the file.
        began = np.rint((t.positions()[0] - x[0]) @ np.linalg.inv(cell)) @ cell
        np.testing.assert_allclose(t.positions() - began, x, atol=2e-4)
        np.testing.assert_allclose(t.constant_cell, cell, atol=2e-5)
        assert list(t.species) == list(numbers)
        assert t.record_interval_ps == pytest.approx(INTERVAL / 1000, rel=1e-5)
        assert t.has_velocities == (v is not None)
        if v is not None:
            np.testing.assert_allclose(t.velocities(), v, rtol=1e-4, atol=1e-3)
        assert t.has_forces == (forces is not None)
        if forces is not None:
            np.testing.assert_allclose(t.forces(), forces, rtol=1e-5, atol=1e-6)
    return warned


def element(group, name, values, steps, *, unit="", time=INTERVAL / 1000, time_unit=""):
    """Write a time-dependent element of H5MD."""
    made = group.create_group(name)
    made["value"] = values
    made["step"], made["time"] = steps, time * np.arange(len(steps))
    if unit:
        made["value"].attrs["unit"] = unit
    if time_unit:
        made["time"].attrs["unit"] = time_unit
    return made


def gromacs(path, x, v, *, velocity_every=1, species=NUMBERS):
    """Write H5MD as GROMACS 2026 lays it out: nm, ps, kJ/mol/nm; single precision."""
    steps = 4 * np.arange(len(x), dtype=np.int64)
    with h5py.File(path, "w") as file:
        file.create_group("h5md").attrs["version"] = [1, 1]
        file.create_group("h5md/creator").attrs["name"] = "GROMACS"
        group = file.create_group("particles/system")
        box = group.create_group("box")
        box.attrs["dimension"] = 3
        box.attrs["boundary"] = [b"periodic"] * 3
        options = {"time_unit": "ps"}
        place = element(group, "position", (x / 10).astype("f4"), steps, unit="nm", **options)
        element(box, "edges", np.tile((CELL / 10).astype("f4"), (len(x), 1, 1)), steps, unit="nm")
        del box["edges/step"], box["edges/time"]
        box["edges/step"], box["edges/time"] = place["step"], place["time"]
        some = slice(None, None, velocity_every)
        element(
            group, "velocity", (v[some] / 10).astype("f4"), steps[some], unit="nm ps-1", **options
        )
        force = np.full(x.shape, 10 * KJ, "f4")
        element(group, "force", force, steps, unit="kJ mol-1 nm-1", **options)
        group["species"], group["id"] = species.astype("i4"), np.arange(1, 7)
        group["mass"] = np.where(NUMBERS == 3, 6.94, 15.999).astype("f4")
        group["mass"].attrs["unit"] = "u"
    return path


def test_gromacs(tmp_path, x, v):
    path = gromacs(tmp_path / "traj.h5md", x, v)
    one = np.ones(x.shape)
    warned = check(path, x, tmp_path / "a.h5", v=v, forces=one, format="h5md")
    assert not warned
    check(path, x, tmp_path / "b.h5", v=v, forces=one, format="auto")


def test_gromacs_whose_topology_tells_no_elements(tmp_path, x, v):
    path = gromacs(tmp_path / "traj.h5md", x, v, species=np.full(6, -1))
    check(path, x, tmp_path / "a.h5", v=v, forces=np.ones(x.shape), format="h5md")


def test_velocities_at_other_steps_are_left_out(tmp_path, x, v):
    path = gromacs(tmp_path / "traj.h5md", x, v, velocity_every=5)
    warned = check(path, x, tmp_path / "a.h5", forces=np.ones(x.shape), format="h5md")
    assert len(warned) == 1
    assert "velocity is left out, which is stored at other steps" in warned[0]


def lammps(path, x, v, *, time=INTERVAL / 1000, speed=1.0):
    """Write H5MD as LAMMPS does: no units, types for species, images, orthogonal edges."""
    steps, edges = 2 * np.arange(len(x)), np.array([8.0, 9.0, 10.0])
    with h5py.File(path, "w") as file:
        file.create_group("h5md").attrs["version"] = [1, 1]
        file.create_group("h5md/creator").attrs["name"] = np.bytes_("lammps")
        group = file.create_group("particles/all")
        box = group.create_group("box")
        box.attrs["dimension"] = 3
        box.attrs["boundary"] = [b"periodic"] * 3
        element(group, "position", x % edges, steps, time=time)
        element(box, "edges", np.tile(edges, (len(x), 1)), steps, time=time)
        element(group, "image", np.floor(x / edges).astype("i4"), steps, time=time)
        element(group, "velocity", v * speed, steps, time=time)
        element(group, "force", np.ones(x.shape), steps, time=time)
        types = np.where(NUMBERS == 3, 1, 2)
        element(group, "species", np.tile(types, (len(x), 1)), steps, time=time)
    return path


@pytest.mark.parametrize("style", ["metal", "real"])
def test_lammps(tmp_path, x, v, style):
    real = style == "real"
    time, speed = (INTERVAL, 1e-3) if real else (INTERVAL / 1000, 1.0)
    path = lammps(tmp_path / "dump.h5", x, v, time=time, speed=speed)
    force = units.kcal / units.mol if real else 1.0
    warned = check(
        path,
        x,
        tmp_path / "a.h5",
        v=v,
        forces=np.full(x.shape, force),
        cell=np.diag([8.0, 9.0, 10.0]),
        format="h5md",
        units=style,
        species="Li,O",
    )
    assert not warned


def test_lammps_types_are_no_elements(tmp_path, x, v):
    """Once hydrogen and helium."""
    path = lammps(tmp_path / "dump.h5", x, v)
    with pytest.raises(UsageError, match=r"state no units.*--units: metal, real"):
        converted(path, tmp_path / "a.h5", format="h5md")
    for species in ("", "Li"):
        with pytest.raises(UsageError, match=r"species are types of LAMMPS, 1 to 2"):
            converted(path, tmp_path / "a.h5", format="h5md", units="metal", species=species)


def torch_sim(path, x, v, *, cells=1):
    """Write what torch-sim 0.3 does (``TorchSimTrajectory.write_state``)."""
    with h5py.File(path, "w") as file:
        file.create_group("header").attrs["program"] = "TorchSim"
        data = {
            "positions": x.astype("f4"),
            "velocities": (v / (units.fs * 1000)).astype("f4"),
            "cell": np.tile(CELL.T.astype("f4"), (cells, 1, 1)),
            "masses": np.where(NUMBERS == 3, 6.94, 15.999).astype("f4")[None],
            "atomic_numbers": NUMBERS[None],
            "pbc": np.ones((1, 3), bool),
        }
        for name, values in data.items():
            file[f"data/{name}"] = values
            file[f"steps/{name}"] = 5 * np.arange(len(values))
    return path


@pytest.mark.parametrize("cells", [1, 300])
def test_torch_sim(tmp_path, x, v, cells):
    path = torch_sim(tmp_path / "md.h5md", x, v, cells=cells)
    for format in ("torch-sim", "auto"):
        out = tmp_path / f"{format}.h5"
        assert not check(path, x, out, v=v, format=format, time_step_fs=INTERVAL)
    with pytest.raises(UsageError, match="--time-step"):
        converted(path, tmp_path / "b.h5", format="torch-sim")
    with pytest.raises(UsageError, match="--species, but the file states"):
        converted(path, tmp_path / "b.h5", format="torch-sim", species="Li", time_step_fs=2.0)


def test_torch_sim_itself(tmp_path, x, v):
    """The program writes what the few lines above do."""
    program = pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    torch = pytest.importorskip("torch")
    path = str(tmp_path / "md.h5md")
    with program.TorchSimTrajectory(path, mode="w") as out:
        for step, (places, speeds) in enumerate(zip(x, v, strict=True)):
            state = program.SimState(
                positions=torch.tensor(places),
                masses=torch.tensor(np.where(NUMBERS == 3, 6.94, 15.999)),
                cell=torch.tensor(CELL.T)[None],
                pbc=True,
                atomic_numbers=torch.tensor(NUMBERS),
            )
            state.velocities = torch.tensor(speeds / (units.fs * 1000))
            out.write_state(state, 5 * step, save_velocities=True)
    check(tmp_path / "md.h5md", x, tmp_path / "a.h5", v=v, format="auto", time_step_fs=INTERVAL)


def vaspout(path, x, *, incar=None, version=(6, 5, 1)):
    """Write a vaspout.h5 by the schema of py4vasp: folded fractions and a cell a step."""
    order = np.argsort(NUMBERS, kind="stable")
    with h5py.File(path, "w") as file:
        dynamics = file.create_group("intermediate/ion_dynamics")
        dynamics["position_ions"] = (x @ np.linalg.inv(CELL) % 1.0)[:, order]
        dynamics["lattice_vectors"] = np.tile(CELL / 1.5, (len(x), 1, 1))
        dynamics["scale"] = 1.5
        dynamics["forces"] = np.full(x.shape, 0.25)
        file["results/positions/ion_types"] = np.array([b"Li_sv ", b"O     "])
        file["results/positions/number_ion_types"] = np.array([3, 3])
        file["results/positions/direct_coordinates"] = 1
        for name, value in zip(("major", "minor", "patch"), version, strict=True):
            file[f"version/{name}"] = value
        for name, value in (incar or {"IBRION": 0, "POTIM": INTERVAL, "TEBEG": 700.0}).items():
            file[f"input/incar/{name}"] = value
    return order


def test_vaspout(tmp_path, x):
    path = tmp_path / "vaspout.h5"
    order = vaspout(path, x)
    told = {"numbers": NUMBERS[order], "unwrap": True, "forces": np.full(x.shape, 0.25)}
    for format in ("vaspout", "auto"):
        assert not check(path, x[:, order], tmp_path / f"{format}-a.h5", format=format, **told)
        with Trajectory(tmp_path / f"{format}-a.h5") as t:
            assert temperature_of(t).k == 700


@pytest.mark.parametrize(
    ("incar", "version", "interval"),
    [
        ({"ML_OUTBLOCK": 10, "IBRION": 0, "POTIM": 0.2}, (6, 4, 3), INTERVAL),
        ({"ML_OUTBLOCK": 10, "IBRION": 0, "POTIM": 2.0}, (6, 4, 2), INTERVAL),
        ({"IBRION": 2, "POTIM": 0.5}, (6, 5, 1), None),
        ({}, (6, 5, 1), None),
    ],
)
def test_time_between_steps_of_vasp(tmp_path, x, incar, version, interval):
    """ML_OUTBLOCK counts from 6.4.3 on; a relaxation has no time."""
    vaspout(tmp_path / "vaspout.h5", x, incar=incar or {"ISIF": 2}, version=version)
    if interval is None:
        with pytest.raises(UsageError, match="--time-step"):
            converted(tmp_path / "vaspout.h5", tmp_path / "a.h5", format="vaspout", unwrap=True)
        return
    converted(tmp_path / "vaspout.h5", tmp_path / "a.h5", format="vaspout", unwrap=True)
    with Trajectory(tmp_path / "a.h5") as t:
        assert t.record_interval_ps == pytest.approx(interval / 1000)


def by_mdanalysis(path, x, v=None):
    """Let MDAnalysis write a trajectory of its format."""
    found = MDAnalysis.Universe.empty(6, trajectory=True, velocities=v is not None)
    found.dimensions = MDAnalysis.lib.mdamath.triclinic_box(*CELL.astype("f4"))
    with MDAnalysis.Writer(str(path), n_atoms=6, dt=INTERVAL / 1000) as out:
        for i, places in enumerate(x):
            found.atoms.positions = places
            if v is not None:
                found.atoms.velocities = v[i]
            found.trajectory.ts.time = INTERVAL / 1000 * i
            found.trajectory.ts.frame = i
            found.trajectory.ts.data["step"] = 2 * i
            out.write(found.atoms)
    return path


@pytest.mark.parametrize("format", ["xtc", "trr", "dcd"])
def test_binaries_through_mdanalysis(tmp_path, x, v, format):
    # XTC holds hundredths of an Angstrom.
    places = np.round(x, 2) if format == "xtc" else x
    told = {"species": "Li2,O1,Li1,O2"}
    if format == "dcd":
        told["time_step_fs"] = INTERVAL
    speeds = v if format == "trr" else None
    path = by_mdanalysis(tmp_path / f"md.{format}", places, speeds)
    before = sorted(tmp_path.iterdir())
    check(path, places, tmp_path / "a.h5", v=speeds, format=format, **told)
    check(path, places, tmp_path / "b.h5", v=speeds, format="auto", **told)
    # The reader of MDAnalysis would leave a file of offsets beside.
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "a.h5", tmp_path / "b.h5"])


def test_what_binaries_do_not_state(tmp_path, x):
    path = by_mdanalysis(tmp_path / "md.dcd", x)
    with pytest.raises(UsageError, match=r"does not state the species.*Li96,O288"):
        converted(path, tmp_path / "a.h5", format="dcd")
    with pytest.raises(UsageError, match="names 7 atoms, there are 6"):
        converted(path, tmp_path / "a.h5", format="dcd", species="Li3,O4")
    with pytest.raises(UsageError, match="--time-step"):
        converted(path, tmp_path / "a.h5", format="dcd", species="Li")


def test_a_cut_xtc_ends_there(tmp_path, x):
    path = by_mdanalysis(tmp_path / "md.xtc", np.round(x, 2))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 30])
    _, warned = converted(path, tmp_path / "a.h5", format="xtc", species="Li", drift="none")
    assert "1 torn frame is left out" in warned[0]
    with Trajectory(tmp_path / "a.h5") as t:
        assert 100 < t.n_records < 160
        np.testing.assert_allclose(t.positions(), x[: t.n_records], atol=2e-2)
    path.write_bytes(b"no trajectory")
    with pytest.raises(DataError, match=r"md.xtc: "):
        converted(path, tmp_path / "b.h5", format="xtc", species="Li")


def test_ase_traj(tmp_path, x, v):
    with AseTrajectory(str(tmp_path / "md.traj"), "w") as out:
        for places, speeds in zip(x, v, strict=True):
            atoms = Atoms(numbers=NUMBERS, positions=places, cell=CELL, pbc=True)
            atoms.set_velocities(speeds / (units.fs * 1000))
            out.write(atoms)
    for format in ("traj", "auto"):
        path = tmp_path / "md.traj"
        check(path, x, tmp_path / f"{format}.h5", v=v, format=format, time_step_fs=INTERVAL)


CHANGES = {
    "missing": None,
    "a group": "group",
    "a text": "text",
    "another number": -7.0,
    "no number": float("nan"),
    "short": np.zeros(2),
    "long": np.zeros((3, 2, 2)),
    "empty": np.zeros((0, 6, 3)),
}


def datasets(path):
    """Return the names of all datasets in an HDF5 file."""
    names = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
    return names


def change(path, name, value):
    """Put something else in the place of a dataset."""
    with h5py.File(path, "r+") as file:
        kept = dict(file[name].attrs)
        del file[name]
        if value is None:
            return
        if isinstance(value, str):
            _ = file.create_group(name) if value == "group" else file.create_dataset(name, data="x")
            return
        file[name] = value
        file[name].attrs.update(kept)


@pytest.mark.parametrize("kind", ["gromacs", "lammps", "torch-sim", "vaspout"])
def test_whatever_is_odd_in_an_hdf5_file_is_one_line(tmp_path, x, v, kind):
    x, v = x[:20], v[:20]
    make = {
        "gromacs": lambda path: gromacs(path, x, v),
        "lammps": lambda path: lammps(path, x, v),
        "torch-sim": lambda path: torch_sim(path, x, v),
        "vaspout": lambda path: vaspout(path, x),
    }[kind]
    options = {"format": "h5md" if kind in ("gromacs", "lammps") else kind, "drift": "none"}
    if kind == "lammps":
        options |= {"units": "metal", "species": "Li,O"}
    if kind == "torch-sim":
        options |= {"time_step_fs": INTERVAL}
    path, refused, wrong = tmp_path / "file", 0, []
    make(path)
    whole = path.read_bytes()
    for name in datasets(path):
        for what, value in CHANGES.items():
            path.write_bytes(whole)
            change(path, name, value)
            try:
                converted(path, tmp_path / "a.h5", **options)
            except MdganError as error:
                refused += 1
                wrong += [str(error)] if "\n" in str(error) else []
            except Exception as error:  # whatever it is, it is not told in one line
                wrong.append(f"{name} {what}: {type(error).__name__} {error}")
    assert not wrong
    assert refused > 10


@pytest.mark.parametrize("format", ["xtc", "trr", "dcd"])
def test_binaries_cut_anywhere_end_in_one_line(tmp_path, x, format):
    """Cut alone: other damage may end the process within the library that decodes them."""
    whole = by_mdanalysis(tmp_path / f"a.{format}", x[:20]).read_bytes()
    path = tmp_path / f"b.{format}"
    told = {"format": format, "species": "Li", "time_step_fs": INTERVAL, "drift": "none"}
    outcomes = set()
    for at in np.random.default_rng(1).integers(len(whole), size=25):
        path.write_bytes(whole[: int(at)])
        try:
            _, warned = converted(path, tmp_path / "a.h5", **told)
            outcomes.add("warned" if warned else "right")
        except MdganError as error:
            outcomes.add("two lines" if "\n" in str(error) else "refused")
    assert outcomes <= {"refused", "right", "warned"}
    assert outcomes & {"refused", "warned"}


def test_a_file_that_is_none_of_siesta_is_told_about_the_format(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("Li 0 0 0\n")
    with pytest.raises(UsageError) as refused:
        converted(path, tmp_path / "x.h5")
    assert refused.value.remedy is not None
    assert "tell --format" in refused.value.remedy
