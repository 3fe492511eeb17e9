"""A recurrent transition density of one ion, exactly symmetric under a finite group.

At each step the network gives the joint density of the next few displacements: a linear
extrapolation of the last ones leaves a residual, which is whitened, and each whitened residual gets
a mixture of Gaussians whose weights, means and covariances depend on the slower residuals, on the
rows of the feature table (`features`), and on a memory (a gated recurrent unit). The mobile ions of
a cell see each other (`surroundings`), and share noise (`shared_noise`). The density is tractable:
the likelihood holds the rate of rare events (hops) as no game does. Turning the past turns the
predicted future (`equivariance`).
"""

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.base import Capabilities, Cells, DataSummary, Density, FreeRun, State, Window
from mdgan_hpc.models.condition import IonSpecies, Temperatures, Told
from mdgan_hpc.models.media import Surroundings
from mdgan_hpc.models.neighbours import NeighbourView
from mdgan_hpc.models.supercell import Supercell
from mdgan_hpc.models.transition import by_level, likelihood
from mdgan_hpc.models.transition.calibrate import Level, calibrated_noise, msd_targets
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.format_1 import upgrade
from mdgan_hpc.models.transition.measured import measured
from mdgan_hpc.models.transition.mixture import Bounds, Mixture, NoiseByEnergy
from mdgan_hpc.models.transition.neighbourhood import require_possible, surroundings_for
from mdgan_hpc.models.transition.network import Weights, network_of
from mdgan_hpc.models.transition.recoil import Recoil
from mdgan_hpc.models.transition.rows import Place, feature_table
from mdgan_hpc.models.transition.shared_noise import SharedNoise
from mdgan_hpc.models.transition.shared_noise_fit import shared_noise_of
from mdgan_hpc.models.transition.stepper import InferenceKernel
from mdgan_hpc.models.transition.surroundings import Neighbours, SeenFramework
from mdgan_hpc.models.transition.thermostat import Held, slopes_alone, thermostat_for

Matrix = list[list[float]]


class TransitionGenerator(Density):
    """Recurrent mixture density for the next r displacements.

    Parameters
    ----------
    config : TransitionConfig
    extrapolation : list of list of float, [r, p]
        Weights of the last displacements, newest first, in the r extrapolated ones.
    whitening : list of list of float, [r, r]
        Rows turn the residuals of the extrapolation (Angstrom) into uncorrelated ones of variance
        one, the slowest first.
    mean_bounds : list of float, [r]
        Bound of the means of the mixture of each residual, beside one for a Gaussian residual.
    one_record, one_record_alpha2 : float, and float or None
        Standard deviation of a displacement of one record along x, y and z, Angstrom; its
        non-Gaussian parameter, where a record resolves the velocity of an ion.
    rotations, translations, primitive : nested list, [n, 3, 3], [n, 3], and [3, 3] or None
        The group (`Symmetry`) and the primitive cell; without it the place is not seen.
    particles, cell : int, and nested list, [3, 3], or None
        k, ions of a cell that see each other, and their cell, whole primitive cells (rows,
        Angstrom); None: each ion is alone.
    temperatures, ion_species : dict or None
        Those of the training, where they are several (`Temperatures`), or those of the ions of a
        cell (`IonSpecies`). Displacements above are then over the thermal ones, of the species.
    levels : list of [float, float or None], or None
        `one_record` and `one_record_alpha2` at each temperature, or of each species.
    msd_target : dict or None
        Of `fit.msd_target`.
    supercell, held : Supercell or None, and Held or None
        In which free runs are (`in_supercell`); of a liquid, whose free runs have a `Thermostat`.
    recoil : list of float, [k], or None
        Mass of each ion over that of the framework; displacements above then are of `Recoil`.
    shown : keyword arguments
        What the network sees of the data's scales and surroundings: those of `feature_table`.
    """

    kind = "transition"
    label = "transition density"
    behaviour = 2
    capabilities = Capabilities(likelihood=True, conditions=("temperature", "species"))
    #: Residuals have variance one along x, y and z; white ones cannot be predicted better.
    linear_loss = 1.5 * (math.log(2 * math.pi) + 1.0)
    Config = TransitionConfig
    config: TransitionConfig
    extrapolation: Tensor
    whitening: Tensor
    inverse_whitening: Tensor
    mean_bounds: Tensor
    noise_levels: Tensor
    _strain: Tensor | None
    start_temperature: Tensor

    def __init__(
        self,
        config: TransitionConfig,
        *,
        extrapolation: Matrix,
        whitening: Matrix,
        mean_bounds: list[float],
        one_record: float,
        rotations: list[Matrix],
        translations: Matrix,
        primitive: Matrix | None,
        one_record_alpha2: float | None = None,
        particles: int = 1,
        cell: Matrix | None = None,
        temperatures: dict[str, Any] | None = None,
        ion_species: dict[str, Any] | None = None,
        levels: list[tuple[float, float | None]] | None = None,
        msd_target: dict[str, Any] | None = None,
        supercell: Supercell | None = None,
        held: Held | None = None,
        recoil: list[float] | None = None,
        **shown: Any,
    ) -> None:
        super().__init__()
        self._ions, self._supercell = particles, supercell or Supercell()
        self.particles_per_sample = self._supercell.n_ions(particles)
        self.temperatures = None if temperatures is None else Temperatures.from_plain(temperatures)
        self.ion_species = IonSpecies.from_plain(ion_species) if ion_species else None
        self._by: Told | None = self.temperatures or self.ion_species
        self._levels = levels or [(one_record, one_record_alpha2)]
        self._msd_targets = msd_targets(msd_target, len(self._levels))
        self.records_per_step, self.n_lags = r, _ = np.shape(extrapolation)
        self.start_size = self._supercell.start_size(particles)
        self.noise_size = r * (1 + 3) * self.particles_per_sample
        self._set_fitted(extrapolation, whitening, mean_bounds)
        self._bounds, self._mean_square = Bounds.of(config), 3 * one_record**2
        lattice = None if primitive is None else np.array(primitive)
        self.features = feature_table(
            config,
            extrapolation=self.extrapolation,
            primitive=lattice,
            cell=None if cell is None else self._supercell.of_cell(np.array(cell)),
            particles=self.particles_per_sample,
            told=self._by,
            **shown,
        )
        self.capabilities = Capabilities(
            likelihood=True,
            neighbours=self.features.row(Neighbours) is not None,
            conditions=() if self._by is None else (self._by.name,),
        )
        given = config, self.features, (rotations, translations), lattice, r
        self.network = network_of(*given, slopes=not shown.get("temperature_is_input", True))
        self.in_solid = lattice is not None or self.features.row(SeenFramework) is not None
        of = config, held, r, self._levels, self.ion_species
        self.thermostat = thermostat_for(*of, particles=self.particles_per_sample)
        self._recoil = Recoil.of_cells(recoil, self._supercell)
        self._make_starts(config)
        self._kernel: tuple[int, InferenceKernel] | None = None

    def _set_fitted(self, extrapolation: Matrix, whitening: Matrix, bounds: list[float]) -> None:
        if self.n_lags < 3 * self.records_per_step:
            raise ValueError(f"too few lags for {self.records_per_step} records a step")
        self._buffer("extrapolation", extrapolation)
        self._buffer("whitening", whitening)
        self._buffer("inverse_whitening", np.linalg.inv(whitening))
        self._buffer("mean_bounds", np.array(bounds)[:, None, None])

    def _make_starts(self, config: TransitionConfig) -> None:
        """Make room for the start states and, of several temperatures, what goes with them."""
        # Of free runs at a temperature: thermal speed over that of the reference, map to the cell.
        self._speed, self._strain = 1.0, None
        self.history_records = self.window_records(config.history_records)
        self.start_windows = config.start_states // self._ions
        for name, value in self._zero_state(self.start_windows * self._ions).items():
            self.register_buffer(f"start_{name}", value)
        if self._by is not None:
            self._buffer("noise_levels", np.zeros((len(self._levels), 3)))
        if self.temperatures is not None:
            kelvin = np.resize(self.temperatures.kelvin, self.start_windows)
            self._buffer("start_temperature", kelvin)

    def _buffer(self, name: str, values: object) -> None:
        self.register_buffer(name, torch.as_tensor(np.array(values), dtype=torch.float32))

    # From data ------------------------------------------------------------------------------

    @classmethod
    def surroundings(cls, config: TransitionConfig, summary: DataSummary) -> Surroundings | None:
        """See `Generator.surroundings`."""
        return surroundings_for(config, summary)

    @classmethod
    def from_data(
        cls, config: TransitionConfig, summary: DataSummary, surroundings: Surroundings | None
    ) -> Self:
        """Build a generator for data; see `Generator.from_data`."""
        arguments, shells = measured(config, summary, surroundings)
        generator = cls.create(config, **arguments)
        generator.network.begin_at(shells, far=config.far, far_width=config.far_width)
        return generator

    @classmethod
    def from_format_1(
        cls, arguments: dict[str, Any], weights: dict[str, Tensor]
    ) -> tuple[TransitionConfig, dict[str, Any], dict[str, Tensor]]:
        """Return what a file of the first format holds; see `Generator.from_format_1`."""
        return upgrade(arguments, weights)

    def prepare(self, history: Window) -> None:
        """Take the ends of windows of data as the start states; see `Generator.prepare`."""
        with torch.no_grad():
            for name, value in self.condition(history).items():
                getattr(self, f"start_{name}").copy_(value)
            if history.temperature_k is not None:
                self.start_temperature.copy_(history.temperature_k)

    def calibrate(self, free_run: FreeRun, cells: Cells) -> None:
        """Fit the noise that ions share, then calibrate all of it, at each temperature."""
        row = self.features.row(Neighbours)
        if row is not None:
            pairs = self.config.calibration_ions * self.config.calibration_records / 2
            self.network.take(shared_noise_of(self, row.descriptor(), cells, pairs))
        of = self._levels, self._msd_targets, self.ion_species, self.particles_per_sample
        groups = by_level.targets(*of)
        for number, targets in enumerate(groups):
            if self.temperatures is not None:
                self.set_temperature(self.temperatures.kelvin[number])
            noise = calibrated_noise(
                *(self.config, free_run, self._set_noise),
                targets=targets,
                particles=self.particles_per_sample * len(groups),
                held=self.thermostat is not None,
                recoil=self._recoil,
            )
            self._set_noise(noise)
            if self.temperatures is not None:
                self.noise_levels[number] = torch.tensor(noise[0])

    def set_temperature(self, kelvin: float) -> None:
        """Make the free runs that follow at a temperature; see `Generator.set_temperature`."""
        told = self.temperatures
        if told is None:
            raise ValueError("trained at one temperature alone")
        self.temperature_k, self._speed, strain = kelvin, told.speed(kelvin), told.strain(kelvin)
        self._strain = None if strain is None else torch.from_numpy(strain).float()
        noise = told.between(torch.tensor([kelvin]), self.noise_levels.cpu())
        self._set_noise([Level(*level) for level in noise.tolist()])

    def in_supercell(self, supercell: Supercell) -> Self:
        """Return this generator for a supercell; see `Generator.in_supercell`."""
        if not self.capabilities.neighbours:
            return super().in_supercell(supercell)
        require_possible(self.arguments, self._ions, supercell)
        other = type(self).create(self.config, **{**self.arguments, "supercell": supercell})
        mine, kept = self.state_dict(), ("network.", "noise_levels", "start_", "thermostat.")
        mine = {name: value for name, value in mine.items() if name.startswith(kept)}
        other.load_state_dict(mine, strict=False)
        if self.temperature_k is not None:
            other.set_temperature(self.temperature_k)
        return other.eval().requires_grad_(False)

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *others: Any) -> None:
        by_level.with_friction(state, f"{prefix}noise_levels")
        super()._load_from_state_dict(state, prefix, *others)

    def _set_noise(self, levels: Sequence[Level]) -> None:
        """Set the noise of all ions, or of each species; what a thermostat aims at comes first."""
        if self.thermostat is not None:
            levels = self.thermostat.taken(levels)
        if self.ion_species is not None:
            self.noise_levels.copy_(torch.tensor(levels))
            return
        self.network.log_noise.fill_(levels[0].log_noise)
        self.network.noise_slope.fill_(levels[0].slope)
        self.network.friction.fill_(levels[0].friction)

    def _noise_by_energy(self) -> NoiseByEnergy:
        of = self._mean_square * self._speed**2, self.config.kinetic_energy_bound
        if self.ion_species is None:
            return NoiseByEnergy(self.network.noise_slope, *of)
        return by_level.of_species(self.ion_species, self._told_to_ions(), self.noise_levels, *of)

    def _told_to_ions(self) -> Tensor | None:
        """Return what free runs are told: the temperature [], or the species of each ion [k]."""
        told = self.temperature_k if self.ion_species is None else self.ion_species.of_ion
        precision = torch.float64 if self.ion_species is None else torch.int64
        device = self.extrapolation.device
        return None if told is None else torch.tensor(told, dtype=precision, device=device)

    def _log_noise_along(self, window: Window, last: Tensor) -> Tensor:
        """Return the logarithm [B k, n] of the noise after displacements [B k, n, 3]."""
        by, told = self._by, likelihood.told_to(window)
        if by is None or told is None:
            return self._noise_by_energy().log_factor(last, -1)
        bounds = self._mean_square, self.config.kinetic_energy_bound
        noise = self.noise_levels if self.thermostat is None else slopes_alone(self.noise_levels)
        levels = by_level.log_noise(by, noise, told, last, *bounds)
        return levels - self.network.log_noise  # that of the free runs of now is in the weights

    def lattice_phases(self) -> Tensor | None:
        """Return the phases of the lattice; see `Generator.lattice_phases`."""
        place = self.features.row(Place)
        return None if place is None else place.phases()

    def neighbour_view(self) -> NeighbourView | None:
        """Return how its ions see each other; see `Generator.neighbour_view`."""
        row = self.features.row(Neighbours)
        return None if row is None else NeighbourView(row.descriptor(), row.scales)

    # Likelihood -----------------------------------------------------------------------------

    def window_records(self, records: int) -> int:
        """Return the least window, in records, of at least this many that holds whole steps."""
        steps = self.features.fill_steps - (-records // self.records_per_step)  # averages first
        return 1 + self.n_lags + self.records_per_step * steps

    def _forced(self, weights: Weights, window: Window) -> likelihood.Forced:
        of = self.extrapolation, self.whitening, self._by, self._recoil is not None
        history = likelihood.Residuals(*of).history(window, self.features.fill_steps)
        return likelihood.teacher_forced(weights, self.features, history)

    def _mixtures(
        self, weights: Weights, given: Tensor, residual: Tensor, kelvin: Tensor | None = None
    ) -> Mixture:
        of = self.temperatures, self.network.components
        return likelihood.mixtures(
            [(len(given), weights)] if kelvin is None else by_level.each(weights, *of, kelvin),
            given,
            residual,
            components=self.network.components,
            mean_bounds=self.mean_bounds,
            bounds=self._bounds,
        )

    def predicted(self, window: Window, warm_up: int) -> tuple[Tensor, Mixture, State]:
        """Return residuals [r, B k n, 3], their mixtures, and what was known [B k, n, ...]."""
        skipped = -(-warm_up // self.records_per_step)
        weights = self.network.dense_weights()
        forced = self._forced(weights, window)
        memory, embedded = forced.memory[:, skipped:-1], forced.embedded[:, skipped:-1]
        given = likelihood.heads(weights, memory, embedded).flatten(0, 1)
        residual = forced.known["residual"][:, skipped + 1 :].flatten(0, 1)
        known = {name: value[:, skipped:-1] for name, value in forced.known.items()}
        kelvin = window.temperature_k
        if kelvin is not None:
            kelvin = kelvin.repeat_interleave(len(given) // len(kelvin))
        mixture = self._mixtures(weights, given, residual, kelvin)
        log_noise = self._log_noise_along(window, known["displacements"][:, :, 0]).flatten(0, 1)
        return residual.swapaxes(0, 1), mixture.widened(log_noise), known

    def left_open(self, window: Window, warm_up: int) -> tuple[Tensor, Tensor]:
        """Return what steps leave open, [r, B k, n, 3] in widths, and places before, [B k, n, 3].

        See `Mixture.standardised`; places are those that ions look from, in fractions of the cell.
        """
        residual, mixture, known = self.predicted(window, warm_up)
        row = self.features.row(Neighbours)
        places = known["place"] if row is None else row.looked_along(known)
        return torch.unflatten(mixture.standardised(residual), 1, places.shape[:2]), places

    def negative_log_likelihood(
        self, window: Window, *, warm_up: int, weighted: bool = False
    ) -> Tensor:
        """Return the mean negative log density of a record; see `Density`.

        In nats, for whitened residuals. Weighted, each counts by its amplitude: fast ones can be
        predicted best and would claim the memory, slow ones move the ion. The true density is best
        either way.
        """
        residual, mixture, _ = self.predicted(window, warm_up)
        density = mixture.log_density(residual).mean(1)  # [r]
        if weighted:
            amplitude = self.inverse_whitening.norm(dim=0)
            density = density * amplitude / amplitude.mean()
        return -density.mean()

    # Free runs ------------------------------------------------------------------------------

    def condition(self, window: Window) -> State:
        """Return the state at the end of windows of data; see `Generator.condition`."""
        forced = self._forced(self.network.dense_weights(), window)
        state = {name: forced.known[name][:, -1] for name in self.features.carried()}
        # The memory does not hold the last displacement yet: the first step takes it in.
        return state | {"memory": forced.memory[:, -2]}

    def _zero_state(self, n: int) -> State:
        carried = self.features.carried() | {"memory": (self.network.hidden,)}
        state = {name: torch.zeros(n, *shape) for name, shape in carried.items()}
        return state | {"ema_activity": torch.ones_like(state["ema_activity"])}

    def start(self, uniform: Tensor) -> tuple[State, Tensor]:
        """Draw stored start states, of a supercell one for each cell; see `Generator.start`."""
        k, told = self._ions, self.temperatures
        rows, kelvin = torch.arange(self.start_windows, device=uniform.device), self.temperature_k
        if kelvin is not None:
            rows = by_level.nearest_starts(self.start_temperature, kelvin)
        windows = k * rows[:, None] + torch.arange(k, device=rows.device)
        of = getattr(self, "start_place", None), self.arguments.get("cell")
        index, where = self._supercell.draw(uniform, windows, *of)
        state = {name: getattr(self, f"start_{name}")[index] for name in self._zero_state(0)}
        if told is not None and kelvin is not None:
            state = by_level.rescaled(state, told, self.start_temperature[index // k], kelvin)
        position = uniform.new_zeros(len(uniform), self.particles_per_sample, 3)
        if (place := self.features.row(Place)) is not None:
            state["place"] = self._supercell.place(state["place"], where)
            position = self._in_cell(state["place"] @ place.cell).view(position.shape)
        return state, position

    def advance(self, state: State, noise: Tensor) -> tuple[Tensor, State]:
        """Go on step by step; see `Generator.advance`."""
        k = self.particles_per_sample
        noise = torch.unflatten(noise, 2, (k, -1)).flatten(1, 2)
        displacement, after = self._current_kernel().run(state, noise)
        return torch.unflatten(self._in_cell(displacement), 1, (-1, k)), after

    def _in_cell(self, vectors: Tensor) -> Tensor:
        """Return vectors [..., 3] in the cell at the temperature of free runs."""
        return vectors if self._strain is None else vectors @ self._strain.to(vectors)

    def _current_kernel(self) -> InferenceKernel:
        if torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters()):
            return self.kernel()
        # Kept until a weight changes.
        weights = [*self.parameters(), *self.buffers()]
        changed = tuple((id(w), w._version, w.device) for w in weights)
        version = hash((self.temperature_k, *changed))
        if self._kernel is None or self._kernel[0] != version:
            with torch.no_grad():
                self._kernel = (version, self.kernel())
        return self._kernel[1]

    def kernel(self) -> InferenceKernel:
        """Return the network as `advance` uses it."""
        network, told, several = self.network, self._told_to_ions(), self.ion_species
        levels = None if several is None else self.noise_levels
        of = self.temperatures, network.components, self.temperature_k
        shared = SharedNoise(network.coupling, network.everyone, self.particles_per_sample)
        return InferenceKernel.of(
            by_level.at(network.dense_weights(), *of),
            self.features.compiled(told),
            motion=torch.cat([self.extrapolation, self._speed * self.inverse_whitening], 1),
            components=self.network.components,
            mean_bounds=self.mean_bounds.flatten().tolist(),
            noise=self._noise_by_energy(),
            shared=shared if bool(network.coupling.any()) else None,
            bounds=self._bounds,
            friction=by_level.friction(network.friction, several, told, levels),
            scale=None if several is None or told is None else several.speed(told),
            held=None if self.thermostat is None else self.thermostat.at(self._speed),
            recoil=self._recoil and self._recoil.on(self.extrapolation.device),
        )
