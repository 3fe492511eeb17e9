"""The temperature at which ions are generated (`--temperature`)."""

import warnings
from dataclasses import replace

from mdgan_hpc.errors import DataWarning
from mdgan_hpc.generate.settings import GenerateConfig
from mdgan_hpc.models.file import Model

#: Records dropped before the first that is stored, of the longest training run, at a temperature
#: without start states of its own: ions must find the sites that they visit there.
_BURN_IN = 0.25


def at_temperature(config: GenerateConfig, model: Model) -> tuple[GenerateConfig, Model]:
    """Return the options with the burn-in that a temperature asks for, and the model there.

    Raises
    ------
    UsageError
        If the model cannot make ions at that temperature.
    """
    model = model.at(config.temperature_k)
    temperatures, kelvin = model.generator.temperatures, model.temperature_k
    trained = temperatures is None or kelvin is None or temperatures.was_trained_at(kelvin)
    if config.burn_in is None and not trained:
        burn_in = round(_BURN_IN * model.training_span_ps / model.record_interval_ps)
        config = replace(config, burn_in=burn_in)
    return config, model


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
