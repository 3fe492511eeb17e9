"""The temperature at which ions are generated (`--temperature`)."""

import warnings

from mdgan_hpc.errors import DataWarning
from mdgan_hpc.models.file import Model


def needs_burn_in(model: Model) -> bool:
    """Tell whether a model runs at a temperature without start states of its own.

    Its ions must find the sites that they visit there.
    """
    temperatures, kelvin = model.generator.temperatures, model.temperature_k
    if temperatures is None or kelvin is None:
        return False
    return not temperatures.was_trained_at(kelvin)


def warn_beyond(model: Model) -> None:
    """Warn where the ions are at a temperature beyond those of the training."""
    temperatures, kelvin = model.generator.temperatures, model.temperature_k
    if temperatures is not None and kelvin is not None and temperatures.is_beyond(kelvin):
        warnings.warn(
            f"{kelvin:g} K is beyond what the model was trained at ({temperatures.text}): no MD "
            "tells how well it moves there",
            DataWarning,
            stacklevel=2,
        )
