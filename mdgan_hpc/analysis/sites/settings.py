"""Choices of `mdgan-sites`. Loads nothing heavy."""

from dataclasses import dataclass, field

from mdgan_hpc.config import key, require_ranges
from mdgan_hpc.errors import UsageError


@dataclass(frozen=True)
class SitesConfig:
    """Where the sites are, and what counts as a jump."""

    species: str = key("", "symbol | species to analyse, e.g. Li; needed where files hold several")
    sites: str = key(
        "",
        "file | sites from a structure that ASE reads (CIF, POSCAR): the atoms of the species; "
        "without it the maxima of the density of the ions",
        metavar="FILE",
    )
    core: float = key(
        0.4,
        "share | radius of the core of a site, as a share of the distance to the next one; an ion "
        "jumps when it reaches the core of another site",
        above=0,
        most=0.5,
    )
    radius_angstrom: float | None = key(
        None,
        "Angstrom | radius of all cores, instead of a share of the distance to the next site",
        flag="--radius",
        above=0,
    )
    window_ps: float | None = key(
        None,
        "ps | two jumps are one chain if an ion moves into the site that another leaves within "
        "this time; if not given one period of the attempt frequency",
        flag="--window",
        above=0,
    )
    temperature_k: float | None = key(
        None,
        "K | temperature for free energies; if not given the thermostat's, or else the mean of "
        "the first file",
        flag="--temperature",
        above=0,
    )

    def __post_init__(self) -> None:
        require_ranges(self, "--")


@dataclass(frozen=True)
class SitesRun:
    """Inputs, output and choices of `mdgan-sites`.

    Attributes
    ----------
    files : tuple of path
        Replicas of one system.
    output : path
        The result file.
    choices : SitesConfig
    figures : path, optional
        Folder for figures.
    """

    files: tuple[str, ...]
    output: str
    choices: SitesConfig = field(default_factory=SitesConfig)
    figures: str = key("", "folder | draw the network of sites and the rates (PNG, PDF) here")
    force: bool = key(False, "true or false | replace outputs that exist")

    def __post_init__(self) -> None:
        if not self.files:
            raise UsageError("no trajectory file is given")
