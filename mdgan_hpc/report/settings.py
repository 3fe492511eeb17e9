"""Inputs of a report. Loads nothing heavy."""

from dataclasses import dataclass

from mdgan_hpc.config import key, require_ranges
from mdgan_hpc.errors import UsageError


@dataclass(frozen=True)
class ReportConfig:
    """Inputs of a report.

    Attributes
    ----------
    md : tuple of path
        MD runs of one system, each a replica.
    generated : tuple of path
        Generated trajectories, each of its own model (bootstrap replica) if several.
    arrhenius : tuple of path
        Results of `mdgan-msd --arrhenius` and `mdgan-sites --arrhenius` to show.
    """

    md: tuple[str, ...]
    generated: tuple[str, ...]
    species: str = key("", "Species to compare, e.g. Li; needed where files hold several.")
    records: int = key(
        128, "Records in a training sample, where the generated file does not tell.", least=1
    )

    accept_poor_model: bool = key(
        False, "Give D also of a model that does not move as the MD does."
    )
    critic: bool = key(
        True,
        "Train a classifier to tell generated ions from MD (about a minute).",
        flag="--no-critic",
    )
    arrhenius: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.md or not self.generated:
            raise UsageError("a report needs at least one --md and one --generated file")
        require_ranges(self, "--")
