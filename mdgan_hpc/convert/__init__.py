"""Trajectories of SIESTA and of other codes into one file: sources, the time line, atoms, cell.

`convert` is the conversion from Python; `mdgan-convert` calls the same.
"""

import sys
from pathlib import Path

from mdgan_hpc import CallableRoom
from mdgan_hpc.convert.settings import ConvertConfig, Drift, SourceKind

__all__ = ["ConvertConfig", "convert"]


def convert(
    source: str | Path,
    output: str | Path,
    *,
    select: str | None = None,
    drift: Drift = ConvertConfig.drift,
    every: int = ConvertConfig.every,
    records: str = ConvertConfig.records,
    source_kind: SourceKind = ConvertConfig.source,
    label: str = ConvertConfig.label,
    format: str = ConvertConfig.format,
    species: str = ConvertConfig.species,
    units: str = ConvertConfig.units,
    fixed_order: bool = ConvertConfig.fixed_order,
    time_step_fs: float = ConvertConfig.time_step_fs,
    unwrap: bool = ConvertConfig.unwrap,
    include_initial: bool = ConvertConfig.include_initial,
    strict: bool = ConvertConfig.strict,
    check: bool = ConvertConfig.check,
    force: bool = False,
    silent: bool = False,
) -> Path:
    """Convert a run folder of SIESTA, or a file of another code, into an H5MD trajectory.

    Parameters
    ----------
    source : path
        Run folder, or trajectory file.
    output : path
        The H5MD file to make.
    select : str, optional
        Atoms to keep: species labels, elements, index ranges from 1, or ``all``.
    source_kind : str
        The option ``--source`` of the command: the kind of file to read the positions from.
    force : bool
        Replace an existing output.
    silent : bool
        Show no progress.
    drift, every, records, label, format, species, units, fixed_order, time_step_fs
    unwrap, include_initial, strict, check
        The options of the command, with their defaults (`ConvertConfig`).

    Returns
    -------
    path
        `output`.

    Raises
    ------
    UsageError, DataError
        In one line: what is wrong, where, and what to do.

    Examples
    --------
    >>> convert("run1", "run1.h5", select="Li")  # doctest: +SKIP
    """
    from mdgan_hpc.convert.conversion import convert_run

    config = ConvertConfig(
        select=ConvertConfig.select if select is None else select,
        drift=drift,
        every=every,
        records=records,
        source=source_kind,
        label=label,
        format=format,
        species=species,
        units=units,
        fixed_order=fixed_order,
        time_step_fs=time_step_fs,
        unwrap=unwrap,
        include_initial=include_initial,
        strict=strict,
        check=check,
    )
    convert_run(source, output, config, force=force, silent=silent)
    return Path(output)


sys.modules[__name__].__class__ = CallableRoom
