"""What both kinds of time lines tell the user."""

import warnings

from mdgan_hpc.errors import DataWarning


def tell(where: object, text: str) -> None:
    """Warn of something in the records of a file that needed mending."""
    warnings.warn(f"{where}: {text}", DataWarning, stacklevel=3)


def tell_other_trajectory(where: object, record: int) -> None:
    """Warn that from a record on the file holds another trajectory, which is not used."""
    tell(
        where,
        f"record {record} begins another trajectory; only the {record} records before it are "
        f"used (for the rest: --records {record}:)",
    )
