"""The cell that is generated: as in training, or several side by side (`--supercell`)."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace

from mdgan_hpc.errors import DataWarning, UsageError
from mdgan_hpc.generate.condition import needs_burn_in
from mdgan_hpc.generate.settings import GenerateConfig
from mdgan_hpc.models.file import Model, load_model
from mdgan_hpc.models.supercell import Supercell

_log = logging.getLogger(__name__)

#: Of the longest training run, dropped before the first record that is stored, in a supercell and
#: at a temperature between: cells drawn one by one are put side by side, and their ions must find
#: to each other first.
_BURN_IN = 0.25
#: Records by particles that are computed at once in a supercell at most: bounds the memory.
_SEGMENT = 2**20
#: Asks for a supercell that holds all particles.
AUTO = "auto"


def model_of(config: GenerateConfig) -> Model:
    """Return the model of a run, at its temperature and in its supercell."""
    return settled(config, load_model(config.model))[1]


def settled(config: GenerateConfig, model: Model) -> tuple[GenerateConfig, Model]:
    """Return the options with what they leave to the program, and the model as it runs.

    That is at its temperature and in its supercell. Particles are rounded up to whole supercells.

    Raises
    ------
    UsageError
        If the temperature or the supercell cannot be.
    """
    model = model.at(config.temperature_k)
    supercell = _supercell(config, model)
    in_a_cell = model.generator.particles_per_sample
    burn_in = config.burn_in
    if burn_in is None:
        share = _BURN_IN if supercell is not None or needs_burn_in(model) else 0.0
        burn_in = round(share * model.training_span_ps / model.record_interval_ps)
    if supercell is None:
        return replace(config, burn_in=burn_in), model
    model = model.in_supercell(supercell)
    ions = model.generator.particles_per_sample
    each = ions * (len(model.generators) if config.supercell == AUTO else 1)
    return (
        replace(
            config,
            particles=-(-config.particles // each) * each,
            burn_in=burn_in,
            supercell=supercell_text(supercell.repeats),
            ions=0 if ions == supercell.n_cells * in_a_cell else ions,
        ),
        model,
    )


def tell(config: GenerateConfig, model: Model) -> None:
    """Say what supercell is generated, if there is one."""
    if config.supercell:
        ions = model.generator.particles_per_sample
        _log.info(
            "Supercell: %s cells, %d ions that see each other; %d of them, %d records dropped "
            "before the first",
            Supercell.of_text(config.supercell),
            ions,
            config.particles // ions,
            config.burn_in,
        )


def warn_of_other_contents(config: GenerateConfig, trained: Model) -> None:
    """Warn where cells hold more or fewer ions than those of the training data: how far that is."""
    if not config.ions:
        return
    supercell, view = Supercell.of_text(config.supercell), trained.generator.neighbour_view()
    held = supercell.n_cells * trained.generator.particles_per_sample
    more = config.ions / held - 1
    assert view is not None
    mean, deviation = view.scales[:, :, 3].double()
    shift = float((mean / deviation).max()) * abs(more)
    warnings.warn(
        f"{config.ions} ions where the {supercell} cells of the training "
        f"data held {held} ({more:+.1%}): on the mean they see {abs(more):.1%} "
        f"{'more' if more > 0 else 'fewer'} others, up to {shift:.2g} standard deviations of what "
        "the training data show; cell and framework stay as they were, whatever the charge",
        DataWarning,
        stacklevel=2,
    )


def repeats_of(config: GenerateConfig) -> list[int] | None:
    """Return how often the cell is repeated, as the settings of an output have it."""
    return list(Supercell.of_text(config.supercell).repeats) if config.supercell else None


def supercell_text(repeats: Sequence[int] | None) -> str:
    """Return the option of a supercell."""
    return ",".join(map(str, repeats or ()))


def segment_records(config: GenerateConfig, block_particles: int, most: int) -> int:
    """Return how many records of a block are computed at once, where it is not told."""
    return min(most, max(1, _SEGMENT // block_particles)) if config.supercell else most


def _supercell(config: GenerateConfig, model: Model) -> Supercell | None:
    if config.ions and config.supercell in ("", AUTO):
        raise UsageError(
            f"--ions {config.ions}: it is not said in how many cells",
            remedy="give --supercell A,B,C too; 1,1,1 is the cell of the training data",
        )
    if not config.supercell:
        return None
    if config.supercell != AUTO:
        found = replace(Supercell.of_text(config.supercell), ions=config.ions or None)
    elif model.cell is None:
        raise UsageError("--supercell auto: the model knows no cell", remedy="leave it out")
    else:
        in_a_cell = len(model.generators) * model.generator.particles_per_sample
        found = Supercell.compact(model.cell, -(-config.particles // in_a_cell))
    return found if found.n_cells > 1 or found.ions else None
