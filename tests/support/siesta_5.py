"""A run folder laid out as SIESTA 5 writes it: `md_out.F90`, `pixmol`, `iofa`, `write_subs.F`.

The numbers are those of a 4.1 run; what differs is versions, attributes and unit constants.
"""

import netCDF4
import numpy as np

from tests.support.siesta_runs import read_raw_md, write_ani, write_md

BOHR, RYDBERG = 0.529177210903, 13.605693122994
SYMBOLS = ["Li", "H"] * 4
SPECIES = np.array([2, 1] * 4)
NUMBERS = np.array([3, 1] * 4)
CELL = np.eye(3) * 4.08 / BOHR  # Bohr

_ATTRIBUTES = {
    "isa": ("Species index", None),
    "iza": ("Atomic number", None),
    "temp": ("Temperature", "Kelvin"),
    "psol": ("Pressure", "Kbar"),
    "eks": ("Kohn-Sham energy", "Ry"),
    "etot": ("Total energy", "Ry"),
    "xa": ("Atomic coordinates", "Bohr"),
    "va": ("Atomic velocities", "Bohr/fs"),
    "cell": ("Cell vectors", "Bohr"),
    "vcell": ("Cell vector velocities", "Bohr/fs"),
    "volume": ("Cell volume", "Ang**3"),
}


def write_md_nc(path, x, v, eks, etot, form="NETCDF3_CLASSIC"):
    """Write `.MD.nc` with the attributes `info` and `unit`; x, v in Bohr and Bohr/fs."""
    with netCDF4.Dataset(path, "w", format=form) as nc:
        for name, size in (("xyz", 3), ("abc", 3), ("atom", x.shape[1]), ("step", None)):
            nc.createDimension(name, size)
        shapes = {"isa": ("atom",), "iza": ("atom",), "xa": ("step", "atom", "xyz")}
        shapes |= {
            "va": shapes["xa"],
            "cell": ("step", "abc", "xyz"),
            "vcell": ("step", "abc", "xyz"),
        }
        for name, (info, unit) in _ATTRIBUTES.items():
            kind = "i4" if name in ("isa", "iza") else "f8"
            variable = nc.createVariable(name, kind, shapes.get(name, ("step",)))
            variable.info = info
            if unit:
                variable.unit = unit
        nc["isa"][:], nc["iza"][:] = SPECIES, NUMBERS
        n = len(x)
        for name, values in {
            "temp": np.full(n, 600.0),
            "psol": np.full(n, 270.0),
            "eks": eks,
            "etot": etot,
            "xa": x,
            "va": v,
            "cell": np.repeat(CELL[None], n, axis=0),
            "vcell": np.zeros((n, 3, 3)),
            "volume": np.full(n, 4.08**3),
        }.items():
            nc[name][:] = values


def _out(start, x, forces, eks):
    """Return the standard output; x of the steps, Bohr."""
    text = [
        "Siesta Version  : 5.4.2",
        "Architecture    : ----",
        "Parallelisations: MPI",
        "Runtime information:",
        ">> Start of run:  28-SEP-2025  15:37:48",
        "                           *  WELCOME TO SIESTA  * ",
        "************************** Dump of input data file ****************************",
        "%include base.fdf",
        "************************** End of input data file *****************************",
        "reinit: System Label: five",
        "Species number:   1 Atomic number:    1 Label: H",
        "Species number:   2 Atomic number:    3 Label: Li",
        "H                    Z=   1    Mass=  1.0080        Charge= 0.17977+309",
        "Li                   Z=   3    Mass=  6.9400        Charge= 0.17977+309",
        "siesta: Atomic coordinates (Bohr) and species",
    ]
    for i, (a, b, c) in enumerate(start):
        text.append(f"siesta:   {a:10.5f}{b:10.5f}{c:10.5f}{SPECIES[i]:3d}{i + 1:9d}")
    text += ["", "redata: Length of MD time step                      =     0.5000 fs"]
    for s in range(len(x)):
        text += [
            "                     ====================================",
            f"                        Begin MD step = {s + 1:6d}",
            "                     ====================================",
            "",
            "outcoor: Atomic coordinates (Ang):                          ",
        ]
        for i, (a, b, c) in enumerate(x[s] * BOHR):
            text.append(f"{a:14.8f}{b:14.8f}{c:14.8f}{SPECIES[i]:4d}{i + 1:8d}  {SYMBOLS[i]}")
        text += ["", "outcell: Unit cell vectors (Ang):"]
        text += ["    " + "".join(f"{value:12.6f}" for value in row) for row in CELL * BOHR]
        text += ["", f"outcell: Cell volume (Ang**3)        : {4.08**3:11.4f}"]
        if s == 0:
            text += [
                "",
                "siesta: Program's energy decomposition (eV):",
                "siesta: Ebs     =  -1.000000",
            ]
        text += [
            "",
            "        iscf     Eharris(eV)        E_KS(eV)     FreeEng(eV)     dDmax    Ef(eV)",
            "",
            f"siesta: E_KS(eV) = {eks[s] * RYDBERG:19.4f}",
            "",
            "siesta: Atomic forces (eV/Ang):",
        ]
        for i, (a, b, c) in enumerate(forces[s]):
            text.append(f"{i + 1:6d}{a:12.6f}{b:12.6f}{c:12.6f}")
        text += [
            "-" * 40,
            "   Tot    0.000000    0.000000    0.000000",
            "-" * 40,
            "",
            f"siesta: Pressure (total):{270.0:20.8f}  kBar",
            "",
            f"siesta: Temp_ion = {600.0 + s:11.3f} K",
            "",
        ]
    text += [
        "siesta: Program's energy decomposition (eV):",
        "siesta: Final energy (eV):",
        "siesta: Atomic forces (eV/Ang):",
        "siesta:      1    9.000000    9.000000    9.000000",
        ">> End of run:  28-SEP-2025  15:39:48",
    ]
    return "\n".join(text) + "\n"


def write_run(folder, data):
    """Write a run of 40 steps; return positions, velocities (Bohr) and energies (Ry) by record."""
    folder.mkdir(exist_ok=True)
    steps, x, v = read_raw_md(data / "short/nve_lih8/lih.MD")
    eks = -7.0 + 0.01 * np.sin(np.arange(40.0))
    etot = np.full(40, -6.97)
    forces = 0.1 * np.cos(np.arange(40 * 24.0)).reshape(40, 8, 3)
    first = 2 * x[0] - x[1]  # the step before
    write_md(folder / "five.MD", steps, x, v)
    write_md_nc(folder / "five.MD.nc", x, v, eks, etot)
    write_ani(folder / "five.ANI", x * BOHR, SYMBOLS)
    (folder / "five.out").write_text(
        _out(first, np.concatenate([first[None], x[:-1]]), forces, eks)
    )
    rows = [
        "".join(f"{a:18.9f}" for a in row) + "   " + "".join(["  0.000000000"] * 3) for row in CELL
    ]
    rows.append("           8")
    for i in range(8):
        numbers = (
            "".join(f"{a:18.9f}" for a in x[-1, i])
            + "   "
            + "".join(f"{a:18.9f}" for a in v[-1, i])
        )
        rows.append(f"{SPECIES[i]:3d}{NUMBERS[i]:6d}{numbers}")
    (folder / "five.XV").write_text("\n".join(rows) + "\n")
    fractions = x[-1] @ np.linalg.inv(CELL)
    rows = ["   " + "".join(f"{a:18.9f}" for a in row) for row in CELL * BOHR] + ["           8"]
    for i, row in enumerate(fractions):
        rows.append(f"{SPECIES[i]:3d}{NUMBERS[i]:6d}" + "".join(f"{a:18.9f}" for a in row))
    (folder / "five.STRUCT_NEXT_ITER").write_text("\n".join(rows) + "\n")
    (folder / "five.fdf").write_text(
        "SystemLabel five\nMD.TypeOfRun Verlet\nMD.LengthTimeStep 0.5 fs\nWriteForces T\n"
        "LatticeConstant 4.08 Ang\n%block ChemicalSpeciesLabel\n"
        "1 1 H H.psml\n2 3 Li Li.psml\n%endblock\n"
    )
    return x, v, eks, etot, forces
