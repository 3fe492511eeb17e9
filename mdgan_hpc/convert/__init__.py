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
    select: str = ConvertConfig.select,
    drift: Drift = ConvertConfig.drift,
    every: int = ConvertConfig.every,
    unwrap: bool = ConvertConfig.unwrap,
    include_initial: bool = ConvertConfig.include_initial,
    source_kind: SourceKind = ConvertConfig.source,
    label: str = ConvertConfig.label,
    records: str = ConvertConfig.records,
    time_step_fs: float = ConvertConfig.time_step_fs,
    temperature_k: float | None = ConvertConfig.temperature_k,
    format: str = ConvertConfig.format,
    species: str = ConvertConfig.species,
    units: str = ConvertConfig.units,
    fixed_order: bool = ConvertConfig.fixed_order,
    strict: bool = ConvertConfig.strict,
    check: bool = ConvertConfig.check,
    force: bool = False,
    silent: bool = False,
) -> Path:
    """Convert a run folder of SIESTA, or a file of another code, into an H5MD trajectory.

    Options are those of the command `mdgan-convert` (`ConvertConfig`), with `source_kind` for its
    ``--source``; `force` replaces an existing output, `silent` shows no progress. Returns `output`.

    Raises
    ------
    UsageError, DataError
        In one line: what is wrong, where, and what to do.

    Examples
    --------
    >>> convert("run1", "run1.h5", select="Li")  # doctest: +SKIP
    """
    options = dict(locals())
    for name in ("source", "output", "force", "silent"):
        del options[name]

    import logging  # here: every start of mdgan-convert loads this module

    from mdgan_hpc.config import from_options
    from mdgan_hpc.convert.conversion import convert_run

    options["source"] = options.pop("source_kind")
    config = from_options(ConvertConfig, options)
    summary = convert_run(source, output, config, force=force, silent=silent)
    for note in summary.notes:
        logging.getLogger(__name__).info("%s: %s", source, note)
    return Path(output)


sys.modules[__name__].__class__ = CallableRoom
