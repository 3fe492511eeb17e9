"""The temperature at which ions are generated (`--temperature`)."""

import warnings
from dataclasses import replace

from mdgan_hpc.errors import DataWarning
from mdgan_hpc.generate.settings import GenerateConfig
from mdgan_hpc.models.file import Model, load_model

#: Records dropped before the first that is stored, of the longest training run, at a temperature
#: without start states of its own: ions must find the sites that they visit there.
_BURN_IN = 0.25


def model_of(config: GenerateConfig) -> Model:
    """Return the model of a run, at its temperature."""
    return settled(config, load_model(config.model))[1]


def settled(config: GenerateConfig, model: Model) -> tuple[GenerateConfig, Model]:
    """Return the options with what they leave to the program, and the model at its temperature.

    Raises
    ------
    UsageError
        If the model cannot make ions at that temperature.
    """
    model = model.at(config.temperature_k)
    temperatures, kelvin, burn_in = model.generator.temperatures, model.temperature_k, 0
    if temperatures is not None and kelvin is not None and not temperatures.was_trained_at(kelvin):
        burn_in = round(_BURN_IN * model.training_span_ps / model.record_interval_ps)
    return replace(config, burn_in=burn_in if config.burn_in is None else config.burn_in), model


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
