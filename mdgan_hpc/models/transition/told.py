"""The rows of the feature table that tell a sample what it is: its temperature, or its species."""

from torch import Tensor
from torch.nn import functional

from mdgan_hpc.models.base import State
from mdgan_hpc.models.condition import IonSpecies, Temperatures
from mdgan_hpc.models.transition.features import Compiled, Feature, History, Inputs
from mdgan_hpc.models.transition.mixture import tiled


class Temperature(Feature):
    """The thermal speed, of samples at several temperatures, for other rows.

    Parameters
    ----------
    temperatures : Temperatures
        Of the training.
    is_input : bool
        Whether the network sees the inverse temperature, as in models of before: else it is told
        to the mixtures alone (`Network`).
    """

    name = "temperature"

    def __init__(self, temperatures: Temperatures, is_input: bool) -> None:
        super().__init__()
        self._temperatures, self.n_scalars = temperatures, int(is_input)

    def along(self, history: History) -> State:
        """See `Feature.along`."""
        if history.told is None:
            raise ValueError("the windows bring no temperature")
        steps = history.ends.shape[1]
        kelvin = history.told[:, None, None].expand(-1, steps, 1)
        told = self._temperatures
        return {"inverse_temperature": told.inverse(kelvin), "speed": told.speed(kelvin)}

    def inputs(self, known: State) -> Inputs:
        """See `Feature.inputs`."""
        return Inputs(scalars=[known["inverse_temperature"]] if self.n_scalars else [])

    def compiled(self, told: Tensor | None) -> Compiled:
        """Tell all samples the same."""
        if told is None:
            raise ValueError("no temperature is set")
        inverse = float(self._temperatures.inverse(told))
        if not self.n_scalars:
            return Compiled(lambda known: Inputs(), self.after)

        def inputs(known: State) -> Inputs:
            like = known["displacements"]
            return Inputs(scalars=[like.new_full((1, like.shape[-1]), inverse)])

        return Compiled(inputs, self.after)


class Species(Feature):
    """Which species an ion is, one number for each; and its displacement, for other rows.

    Parameters
    ----------
    ion_species : IonSpecies
    """

    name = "species"

    def __init__(self, ion_species: IonSpecies) -> None:
        super().__init__()
        self._ion_species, self.n_scalars = ion_species, len(ion_species.species)

    def along(self, history: History) -> State:
        """See `Feature.along`."""
        if history.told is None:
            raise ValueError("the windows bring no species")
        which = history.told[:, None].expand(-1, history.ends.shape[1])
        return {"species": self._one_hot(which), "speed": self._ion_species.speed(which)[..., None]}

    def inputs(self, known: State) -> Inputs:
        """See `Feature.inputs`."""
        return Inputs(scalars=[known["species"]])

    def compiled(self, told: Tensor | None) -> Compiled:
        """Tell each ion of a cell its own."""
        if told is None:
            raise ValueError("no species are told")
        one_hot = self._one_hot(told).T

        def inputs(known: State) -> Inputs:
            return Inputs(scalars=[tiled(one_hot, known["displacements"].shape[-1])])

        return Compiled(inputs, self.after)

    def _one_hot(self, which: Tensor) -> Tensor:
        return functional.one_hot(which.long(), self.n_scalars).float()
