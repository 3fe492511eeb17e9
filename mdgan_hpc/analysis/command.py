"""What `mdgan-msd` does: read, compute on all ranks, write one result, tell the essentials."""

from dataclasses import asdict, dataclass, field

from mdgan_hpc.analysis.diffusion import diffusion_tree
from mdgan_hpc.analysis.dynamics import DynamicsConfig, analyse
from mdgan_hpc.analysis.text import diffusion_lines
from mdgan_hpc.outputs import refuse_existing
from mdgan_hpc.parallel import world
from mdgan_hpc.provenance import provenance
from mdgan_hpc.results import check_suffix, save_results


@dataclass(frozen=True)
class MsdConfig:
    """Inputs, output and choices of `mdgan-msd`."""

    files: tuple[str, ...]
    output: str
    window_ps: tuple[float, float] | None = None
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    force: bool = False


def measure(config: MsdConfig) -> None:
    """Analyse the files, write the result and print the diffusion coefficient."""
    check_suffix(config.output)
    refuse_existing(config.output, force=config.force)
    communicator = world()
    dynamics = analyse(config.files, config.dynamics, communicator)
    if dynamics is None:
        return
    dynamics["diffusion"] = diffusion_tree(dynamics, window_ps=config.window_ps)
    dynamics["provenance"] = provenance(
        config=asdict(config), inputs=config.files, ranks=communicator.size
    )
    save_results(config.output, dynamics, force=config.force, table="curves")
    for line in diffusion_lines(dynamics["diffusion"]):
        print(line)
    print(f"Written to {config.output}")
