"""A recurrent transition density of one ion, exactly symmetric under a finite group.

At each step the network gives the joint density of the next few displacements: a linear
extrapolation of the last ones leaves a residual, turned into uncorrelated modes, and each mode gets
a mixture of Gaussians whose weights, means and covariances depend on the slower modes, on the last
displacements, on the place in the primitive cell that they lead to, on traces, and on a memory (a
gated recurrent unit). A trace is where the ion is, seen from an exponential mean of where it was;
its activity is a like mean of the square of the shortest trace. They hold what a recurrent unit
trained on windows of a picosecond does not learn to keep: where the ion came from, and whether it
moved much of late. In a crystal the ions of one simulation see each other (`surroundings`): whether
one hops depends on who is beside it. A step spans several records because the force on an ion stays
alike for tens of femtoseconds: errors of shorter steps are not independent and add up in free runs.
Because the density is tractable, the rate of rare events (hops) is held by the likelihood of the
data, which an adversarial game alone does not hold still.

Symmetry: hidden units carry the regular representation of a finite group, so that turning the
past turns the predicted future (group convolutions, T. Cohen and M. Welling, ICML 2016, section
6). With the inversion in it, the mean displacement is zero by construction. The place enters only
through cosines and sines of reciprocal lattice vectors, so that lattice translations are exact.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mdgan_hpc.crystal import Symmetry
from mdgan_hpc.models import neighbours as surroundings
from mdgan_hpc.models.base import Generator, State, rollout
from mdgan_hpc.models.transition.mixture import Mixture
from mdgan_hpc.models.transition.stepper import (
    DIRECTION,
    DIRECTIONS,
    LOG_WIDTH,
    QUIET,
    SATURATION,
    Sight,
    Stepper,
    saturated,
)

#: Records of data that fill the memory before a free run, about.
_HISTORY = 96
#: Of this, times the longest relaxation of the traces, windows begin with.
_TRACE_HISTORY = 1.5
#: Free runs, the records they need to forget their start, those that then tell how hot they are,
#: and the noise (logarithm) tried. The temperature of a cell wanders for hundreds of records.
_THERMOMETER = (1024, 500, 2000)
_NOISE_RANGE = 0.01
#: In units of a mode's deviation: shells of its variance that no Gaussian mode has.
_FAR = 4.0
#: Width of a Gaussian that begins there, over its distance.
_FAR_WIDTH = 0.2
#: So many relaxations a run must hold for a trace to be worth its history.
RELAXATIONS_A_RUN = 12


class TransitionGenerator(Generator):
    """Recurrent mixture density for the next r displacements.

    Parameters
    ----------
    extrapolation : list of list of float, [r, p]
        Weights of the last displacements, newest first, in the r extrapolated ones.
    modes : list of list of float, [r, r]
        Rows turn the residuals of the extrapolation (Angstrom) into uncorrelated modes of
        variance one.
    reach : list of float, [r]
        How far the mixture of each mode may reach, beside one for a mode that is Gaussian.
    scales : list of float, [4]
        Standard deviations, Angstrom: displacement over r records, its first and second
        difference, displacement of one record.
    rotations, translations : nested list, [n, 3, 3] and [n, 3]
        The group (`Symmetry`).
    primitive : nested list, [3, 3], or None
        Primitive cell; without it the place is not seen.
    relaxations : list of float
        Of the traces, steps, ascending; may be empty.
    trace_scales : list of float
        Standard deviation of each trace, Angstrom.
    hidden : int
        Units of the memory, a multiple of n at least.
    components : int
        Gaussians in the mixtures of a step, shared by its modes; a mode has a multiple of n.
    head : int
        Units between the memory and the mixture of a mode, a multiple of n at least.
    reciprocal_vectors : int
        Least number of reciprocal vectors (whole shells are taken).
    pool : int
        Number of stored start states.
    particles : int
        k, of a simulation whose ions see each other.
    box : nested list, [3, 3], or None
        Cell of that simulation, whole primitive cells (rows, Angstrom); None: ions see none.
    seen : nested list, [2, A, 4], or None
        Mean and deviation of what they see (`surroundings.scales`).
    """

    extrapolation: Tensor
    modes: Tensor
    inverse_modes: Tensor
    reach: Tensor
    scales: Tensor
    rotations: Tensor
    cell: Tensor
    inverse_cell: Tensor
    waves: Tensor
    keep: Tensor
    trace_scales: Tensor
    log_noise: Tensor
    images: Tensor
    seen: Tensor
    _product: Tensor
    _input_action: Tensor

    def __init__(
        self,
        *,
        extrapolation: list[list[float]],
        modes: list[list[float]],
        reach: list[float],
        scales: list[float],
        rotations: list[list[list[float]]],
        translations: list[list[float]],
        primitive: list[list[float]] | None,
        relaxations: list[float],
        trace_scales: list[float],
        hidden: int,
        components: int,
        head: int = 64,
        reciprocal_vectors: int = 60,
        pool: int = 2048,
        particles: int = 1,
        box: list[list[float]] | None = None,
        seen: list[list[list[float]]] | None = None,
    ) -> None:
        super().__init__()
        self.particles_per_sample = particles
        self.sees = box is not None and seen is not None and primitive is not None
        if self.sees:
            self.simulated_together = particles
            self._buffer("images", surroundings.images(np.array(box)))
            self._buffer("seen", seen)
        n_shells = len(self.seen[0]) if self.sees else 0
        group = np.array(rotations)
        self.n_operations = n = len(group)
        self.channels = channels = max(1, round(hidden / n))
        self.hidden = n * channels
        self.records_per_step = r = len(extrapolation)
        self.orbits = max(1, round(components / (r * n)))
        self.components = n * self.orbits
        self.n_lags = p = len(extrapolation[0])
        if p < 3 * r:
            raise ValueError(f"{p} lags are too few for {r} records a step")
        self.has_lattice = primitive is not None
        self.start_size = 1
        self.noise_size = r * (1 + 3) * particles
        self.head_channels = max(1, round(head / n))
        self.n_traces = len(relaxations)
        self.trace_steps = math.ceil(_TRACE_HISTORY * max(relaxations, default=0.0))
        self.history_records = self.whole_window(_HISTORY)
        self.pool_size = pool // particles * particles
        self._buffer("extrapolation", extrapolation)
        self._buffer("modes", modes)
        self._buffer("inverse_modes", np.linalg.inv(modes))
        self._buffer("reach", np.array(reach)[:, None, None])
        # One record a step: the displacement over the step is that of the last record.
        self._buffer("scales", scales[: 3 if r == 1 else 4])
        self._buffer("keep", np.exp(-1 / np.array(relaxations)))
        self._buffer("trace_scales", trace_scales)
        self._buffer("log_noise", 0.0)
        n_vectors = len(self.scales) + r + self.n_traces + n_shells
        self._buffer("rotations", group)
        product = np.array([[_find(group, a.T @ b) for b in group] for a in group])
        self.register_buffer("_product", torch.from_numpy(product))  # index of a^-1 b
        lattice_action = np.zeros((n, 0, 0))
        if primitive is not None:
            cell = np.array(primitive)
            waves = _reciprocal_shells(cell, reciprocal_vectors)
            lattice_action = _action_on_waves(cell, waves, group, np.array(translations))
            whole_cell = np.array(box) if self.sees else cell
            whole = np.round(whole_cell @ np.linalg.inv(cell))
            self._buffer("inverse_cell", np.linalg.inv(whole_cell))
            self._buffer("cell", whole_cell)
            self._buffer("waves", 2 * np.pi * whole @ waves.T)
        n_waves = lattice_action.shape[1]
        n_moved = 3 * n_vectors + n_waves
        self.n_inputs = n_inputs = n_moved + self.n_traces + n_shells
        action = np.zeros((n, n_inputs, n_inputs))
        for g in range(n):
            action[g, : 3 * n_vectors, : 3 * n_vectors] = np.kron(np.eye(n_vectors), group[g])
            action[g, 3 * n_vectors : n_moved, 3 * n_vectors : n_moved] = lattice_action[g]
            action[g, n_moved:, n_moved:] = np.eye(n_inputs - n_moved)
        inverse = [_find(group, g.T) for g in group]
        self._buffer("_input_action", action[inverse])
        self._make_weights()
        states = self._zero_state(self.pool_size)
        for name, value in states.items():
            self.register_buffer(f"pool_{name}", value)
        self._frozen: tuple[int, Stepper] | None = None

    def _buffer(self, name: str, values: object) -> None:
        self.register_buffer(name, torch.as_tensor(np.array(values), dtype=torch.float32))

    def _make_weights(self) -> None:
        """Free weights; `dense_weights` spreads them over the group."""
        n, c, q, inputs = self.n_operations, self.channels, self.orbits, self.n_inputs

        def uniform(*shape: int, fan_in: float) -> nn.Parameter:
            return nn.Parameter((torch.rand(*shape) * 2 - 1) / math.sqrt(fan_in))

        self.embed = uniform(c, inputs, fan_in=inputs / 3)
        self.embed_bias = nn.Parameter(torch.zeros(c))
        self.mix = uniform(n, c, c, fan_in=self.hidden / 3)
        self.mix_bias = nn.Parameter(torch.zeros(c))
        self.gates_input = uniform(n, 3, c, c, fan_in=self.hidden)
        self.gates_memory = uniform(n, 3, c, c, fan_in=self.hidden)
        self.gates_input_bias = uniform(3, c, fan_in=self.hidden)
        self.gates_memory_bias = uniform(3, c, fan_in=self.hidden)
        r, e = self.records_per_step, self.head_channels
        self.head = uniform(n, 2, r * e, c, fan_in=2 * self.hidden)
        self.head_bias = nn.Parameter(torch.zeros(r * e))
        self.earlier = uniform(r, e, 3 * r, fan_in=3 * r)
        small = 0.1 / math.sqrt(n * e)
        self.scalars = nn.Parameter(torch.randn(n, r, 2, q, e) * small)
        self.vectors = nn.Parameter(torch.randn(n, r, q, 1 + DIRECTIONS, 3, e) * small)
        widths = torch.linspace(-1.0, 0.2, q) if q > 1 else torch.tensor([-0.3])
        self.scalars_bias = nn.Parameter(torch.stack([torch.zeros(q), widths]).repeat(r, 1, 1))
        self.vectors_bias = nn.Parameter(0.3 * torch.randn(r, q, 1 + DIRECTIONS, 3))

    def begin_at(self, shells: np.ndarray) -> None:
        """Let Gaussians of the slowest mode begin where its variance is, if that is far out.

        Likelihood moves a Gaussian by the data near it: the shell of hops of one length is found by
        those that begin there.

        Parameters
        ----------
        shells : array, [s]
            Of `variance_shells`.
        """
        # Each orbit at its share of the variance.
        at = ((np.arange(self.orbits) + 0.5) / self.orbits * len(shells)).astype(int)
        radius = torch.from_numpy(shells[at]).float()
        somewhere = functional.normalize(torch.randn(self.orbits, 3), dim=-1)
        with torch.no_grad():
            far = radius > _FAR
            self.vectors_bias[0, far, 0] = (radius[:, None] * somewhere)[far]
            self.scalars_bias[0, 1, far] = (_FAR_WIDTH * radius).log()[far]

    def _convolution(self, weight: Tensor) -> Tensor:
        """Spread [n, out, in] over the group: block (g, h) is the weight of g^-1 h."""
        n, out, inputs = weight.shape
        return weight[self._product].permute(0, 2, 1, 3).reshape(n * out, n * inputs)

    def dense_weights(self) -> dict[str, Tensor]:
        """Return ordinary matrices whose structure makes the network symmetric."""
        n, r, e = self.n_operations, self.records_per_step, self.head_channels
        gates = [
            torch.cat([self._convolution(w[:, j]) for j in range(3)])
            for w in (self.gates_input, self.gates_memory)
        ]
        gate_biases = [
            b[:, None].expand(3, n, self.channels).reshape(-1)
            for b in (self.gates_input_bias, self.gates_memory_bias)
        ]
        # A mode of the step depends on the slower ones before it: zero where it may not look.
        looks = torch.ones(r, r, device=self.earlier.device).tril(-1)
        earlier = self.earlier * looks.repeat_interleave(3, 1)[:, None]
        turn = torch.einsum("mn,gij->gminj", torch.eye(r, device=looks.device), self.rotations.mT)
        # Gaussians form orbits, which the group maps onto themselves: without any direction in the
        # past those of an orbit still lie about the origin and not at it.
        scalars = self.scalars[self._product].permute(2, 3, 0, 4, 1, 5).reshape(r, -1, n * e)
        vectors = torch.einsum("gij,ghmqvjc->mgqvihc", self.rotations, self.vectors[self._product])
        weights_bias, width_bias = self.scalars_bias.unbind(1)
        scalars_bias = torch.stack([weights_bias, width_bias + self.log_noise], 1)
        scalars_bias = scalars_bias[:, :, None].expand(r, 2, n, -1).flatten(1)
        vectors_bias = torch.einsum("gij,mqvj->mgqvi", self.rotations, self.vectors_bias)
        return {
            "embed": torch.einsum("cu,guv->gcv", self.embed, self._input_action).reshape(
                self.hidden, self.n_inputs
            ),
            "embed_bias": self.embed_bias.repeat(n),
            "mix": self._convolution(self.mix),
            "mix_bias": self.mix_bias.repeat(n),
            "gates_input": gates[0],
            "gates_memory": gates[1],
            "gates_input_bias": gate_biases[0],
            "gates_memory_bias": gate_biases[1],
            "head": _by_mode(
                torch.cat([self._convolution(self.head[:, j]) for j in range(2)], 1), n, r
            ),
            "head_bias": _by_mode(self.head_bias.repeat(n), n, r),
            "earlier": torch.einsum(
                "mcu,guv->mgcv", earlier, turn.reshape(n, 3 * r, 3 * r)
            ).reshape(r, n * e, 3 * r),
            "out": torch.cat([scalars, vectors.reshape(r, -1, n * e)], 1),
            "out_bias": torch.cat([scalars_bias, vectors_bias.flatten(1)], 1),
        }

    # What the network sees and gives ---------------------------------------------------------

    def _inputs(self, known: dict[str, Tensor]) -> Tensor:
        """Return the inputs [..., n_inputs].

        Parameters
        ----------
        known : dict
            `lagged` [..., p, 3], the last displacements, newest first; `residual` [..., r, 3], the
            modes of the last step; `trace` [..., k, 3] and `activity` [..., k]; with a lattice
            `place` [..., 3], fractional in the cell; where ions see each other `seen` [..., A, 4].
        """
        trace = known["trace"] / self.trace_scales[:, None]
        vectors = [self._differences(known["lagged"]), known["residual"], trace]
        numbers = []
        if self.sees:
            around = (known["seen"] - self.seen[0]) / self.seen[1]
            vectors.append(around[..., :3])
            numbers.append(around[..., 3])
        seen = torch.cat(vectors, -2)
        parts = [saturated(seen, SATURATION).flatten(-2)]
        if self.has_lattice:
            ahead = torch.einsum("p,...pi->...i", self.extrapolation.sum(0), known["lagged"])
            phase = (known["place"] + ahead @ self.inverse_cell) @ self.waves
            parts += [phase.cos(), phase.sin()]
        parts += [(known["activity"] + QUIET).log(), *numbers]
        return torch.cat(parts, -1)

    def _traces(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Return traces [B, n, k, 3] and activities [B, n, k] after displacements [B, n, 3]."""
        n = steps.shape[1]
        age = torch.arange(n, device=steps.device)
        age = age[:, None] - age
        power = torch.where(age >= 0, self.keep[:, None, None] ** age.clamp(min=0), 0.0)
        trace = torch.einsum("kji,bid->bjkd", power * self.keep[:, None, None], steps)
        if not self.n_traces:
            return trace, trace[..., 0]
        squared = trace[:, :, 0].square().sum(-1) / (3 * self.trace_scales[0] ** 2)
        activity = torch.einsum("kji,bi->bjk", power * (1 - self.keep)[:, None, None], squared)
        # Begun at its mean, one.
        return trace, activity + power[:, :, 0].T * self.keep

    def _differences(self, lagged: Tensor) -> Tensor:
        """Return scaled differences [..., v, 3] of the last displacements [..., p, 3]."""
        r = self.records_per_step
        a, b, c = (lagged[..., i * r : (i + 1) * r, :].sum(-2) for i in range(3))
        vectors = [a, a - b, a - 2 * b + c]
        if r > 1:
            vectors.append(lagged[..., 0, :])
        return torch.stack(vectors, -2) / self.scales[:, None]

    def _heads(self, weights: dict[str, Tensor], memory: Tensor, embedded: Tensor) -> Tensor:
        """Return what the head of each mode gets from the past, [..., r * head]."""
        joined = torch.cat([memory, embedded], -1)
        return functional.linear(joined, weights["head"], weights["head_bias"])

    def _mixtures(self, weights: dict[str, Tensor], heads: Tensor, residual: Tensor) -> Mixture:
        """Return the mixture of each mode given the slower ones, [r, B, ...].

        Parameters
        ----------
        weights : dict
            Of `dense_weights`.
        heads : Tensor, [B, r * head]
        residual : Tensor, [B, r, 3]
            The modes of the step.
        """
        heads = heads.unflatten(-1, (self.records_per_step, -1)).swapaxes(0, 1)
        seen = saturated(residual, SATURATION).flatten(1) @ weights["earlier"].mT
        inner = functional.silu(heads + seen)
        out = torch.baddbmm(weights["out_bias"][..., None, :], inner, weights["out"].mT)
        k = self.components
        vectors = out[..., 2 * k :].unflatten(-1, (k, 1 + DIRECTIONS, 3))
        widths = out[..., k : 2 * k]
        bounded = widths.clamp(min=LOG_WIDTH[0]).minimum(LOG_WIDTH[1] + self.reach.log())
        return Mixture(
            out[..., :k].log_softmax(-1),
            # The gradient passes the bounds, or a Gaussian that has met one would stay there.
            widths + (bounded - widths).detach(),
            saturated(vectors[..., 0, :], SATURATION * self.reach[..., None]),
            saturated(vectors[..., 1:, :], DIRECTION),
        )

    # Likelihood -----------------------------------------------------------------------------

    def whole_window(self, records: int) -> int:
        """Return the least window, in records, of at least this many that holds whole steps.

        What only fills the traces comes first.
        """
        r = self.records_per_step
        return 1 + self.n_lags + r * (self.trace_steps - (-records // r))

    def _teacher_forced(
        self, weights: dict[str, Tensor], positions: Tensor, seen: Tensor | None
    ) -> dict[str, Tensor]:
        """Run over data; return what each of n steps left, [B k, n, ...].

        The steps that only fill the traces are not among the n.

        Parameters
        ----------
        weights : dict
            Of `dense_weights`.
        positions : Tensor, [B, L, k, 3]
            Angstrom, float64.
        seen : Tensor, [B, L, k, A, 4], or None
        """
        p, r = self.n_lags, self.records_per_step
        positions = positions.transpose(1, 2).flatten(0, 1)
        first = r * self.trace_steps
        steps = positions[:, p + r :: r] - positions[:, p:-r:r]
        trace, activity = (t[:, self.trace_steps :] for t in self._traces(steps.float()))
        positions = positions[:, first:]
        moved = (positions[:, 1:] - positions[:, :-1]).float()
        past = moved.unfold(1, p, r).flip(-1).swapaxes(2, 3)  # [B, n + 1, p, 3], newest first
        following = moved[:, p:].unflatten(1, (-1, r))  # [B, n, r, 3]
        extrapolated = torch.einsum("rp,bnpi->bnri", self.extrapolation, past[:, :-1])
        residual = torch.einsum("mr,bnri->bnmi", self.modes, following - extrapolated)
        known = {
            "lagged": past[:, 1:],
            "residual": residual,
            "trace": trace,
            "activity": activity,
        }
        if self.has_lattice:
            fraction = positions[:, p + r :: r] @ self.inverse_cell.double()
            known["place"] = (fraction - fraction.floor()).float()
        if self.sees:
            if seen is None:
                raise ValueError("the windows do not tell what the ions see")
            known["seen"] = seen.transpose(1, 2).flatten(0, 1)[:, first:][:, p + r :: r]
        embedded = self._inputs(known)
        for name in ("embed", "mix"):
            embedded = functional.silu(
                functional.linear(embedded, weights[name], weights[f"{name}_bias"])
            )
        order = ("gates_input", "gates_memory", "gates_input_bias", "gates_memory_bias")
        start = embedded.new_zeros(1, len(embedded), self.hidden)
        memory, _ = torch.gru(
            embedded, start, [weights[name] for name in order], True, 1, 0.0, False, False, True
        )
        return {**known, "embedded": embedded, "memory": memory}

    def _predicted(
        self, positions: Tensor, warm_up: int, seen: Tensor | None = None
    ) -> tuple[Tensor, Mixture]:
        """Return the modes [r, B * n, 3] of each step of the data and what was predicted."""
        skipped = -(-warm_up // self.records_per_step)
        weights = self.dense_weights()
        known = self._teacher_forced(weights, positions, seen)
        memory, embedded = known["memory"][:, skipped:-1], known["embedded"][:, skipped:-1]
        heads = self._heads(weights, memory, embedded).flatten(0, 1)
        residual = known["residual"][:, skipped + 1 :].flatten(0, 1)
        return residual.swapaxes(0, 1), self._mixtures(weights, heads, residual)

    def negative_log_likelihood(
        self,
        positions: Tensor,
        seen: Tensor | None = None,
        *,
        warm_up: int,
        weighted: bool = False,
    ) -> Tensor:
        """Return the mean negative log density of a record, in nats, in units of the modes.

        Parameters
        ----------
        positions : Tensor, [B, L, k, 3]
            Windows of data, Angstrom, float64; L from `whole_window`.
        seen : Tensor, [B, L, k, A, 4], optional
            What the ions see, of `surroundings.of_runs`, where they see each other.
        warm_up : int
            First records of a window that only fill the memory.
        weighted : bool
            Let each mode count by its amplitude, for training: fast modes can be predicted best
            and would claim the memory, slow ones move the ion. The true density is best either
            way.
        """
        residual, mixture = self._predicted(positions, warm_up, seen)
        density = mixture.log_density(residual).mean(1)  # [r]
        if weighted:
            amplitude = self.inverse_modes.norm(dim=0)
            density = density * amplitude / amplitude.mean()
        return -density.mean()

    def condition(self, positions: Tensor, seen: Tensor | None = None) -> State:
        """Return the state at the end of windows of data [B, L, k, 3] and what is seen there."""
        known = self._teacher_forced(self.dense_weights(), positions, seen)
        state = {
            "displacements": known["lagged"][:, -1],
            "residual": known["residual"][:, -1],
            "trace": known["trace"][:, -1],
            "activity": known["activity"][:, -1],
            # The memory does not hold the last displacement yet: the first step takes it in.
            "memory": known["memory"][:, -2],
        }
        if self.has_lattice:
            state["place"] = known["place"][:, -1]
        return state

    # Generation -----------------------------------------------------------------------------

    def _zero_state(self, n: int) -> State:
        state = {
            "displacements": torch.zeros(n, self.n_lags, 3),
            "residual": torch.zeros(n, self.records_per_step, 3),
            "trace": torch.zeros(n, self.n_traces, 3),
            "activity": torch.ones(n, self.n_traces),
            "memory": torch.zeros(n, self.hidden),
        }
        if self.has_lattice:
            state["place"] = torch.zeros(n, 3)
        return state

    def set_pool(self, positions: Tensor, seen: Tensor | None = None) -> None:
        """Take the ends of windows of data [pool / k, L, k, 3] as the start states."""
        with torch.no_grad():
            for name, value in self.condition(positions, seen).items():
                getattr(self, f"pool_{name}").copy_(value)

    def hold_temperature(self, random: torch.Generator) -> None:
        """Scale the noise of all steps so that free runs are as hot as the data.

        How hot an ion is, is the mean square of its displacement in one record. Free runs stray
        from that of the data by a percent or two, as errors of many steps add up, and the rate of
        hops by ten times as much. One number is set, `log_noise`: where a line through free runs
        at two values of it meets the data.

        Parameters
        ----------
        random : torch.Generator
            Source of the random numbers of the free runs.
        """
        one_record = self.scales[-1] if self.records_per_step > 1 else self.scales[0]
        wanted = 2 * math.log(float(one_record))
        trials = torch.tensor([-_NOISE_RANGE, _NOISE_RANGE], dtype=torch.float64)
        ions, forgotten, records = _THERMOMETER
        samples = max(1, ions // self.particles_per_sample)
        hot = []
        for trial in trials.tolist():
            self.log_noise.fill_(trial)
            path = rollout(self, samples, records, random=random, burn_in_records=forgotten)
            hot.append(path.double().diff(dim=0).square().mean().log())
        excess = torch.stack(hot) - wanted
        slope = float(trials @ excess / trials.square().sum())
        # A network that is far off still is to be seen as it is: in half-trained ones for example.
        found = -float(excess.mean()) / slope if slope > 0 else 0.0
        self.log_noise.fill_(min(max(found, -2 * _NOISE_RANGE), 2 * _NOISE_RANGE))

    def start(self, uniform: Tensor) -> tuple[State, Tensor]:
        """Draw stored start states; see `Generator.start`."""
        k = self.particles_per_sample
        together = self.pool_size // k
        index = (uniform[:, :1] * together).long().clamp_(max=together - 1)
        index = (k * index + torch.arange(k, device=index.device)).flatten()
        names = self._zero_state(0)
        state = {name: getattr(self, f"pool_{name}")[index] for name in names}
        position = uniform.new_zeros(len(uniform), k, 3)
        if self.has_lattice:
            position = (state["place"] @ self.cell).view(-1, k, 3)
        return state, position

    def advance(self, state: State, noise: Tensor) -> tuple[Tensor, State]:
        """Go on step by step; see `Generator.advance`."""
        k = self.particles_per_sample
        noise = noise.unflatten(2, (k, -1)).flatten(1, 2)
        displacement, after = self._current_stepper().run(state, noise)
        return displacement.unflatten(1, (-1, k)), after

    def _current_stepper(self) -> Stepper:
        if torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters()):
            return self._stepper()
        # Kept until a weight changes.
        weights = (*self.parameters(), self.log_noise)
        version = hash(tuple((id(w), w._version, w.device) for w in weights))
        if self._frozen is None or self._frozen[0] != version:
            with torch.no_grad():
                self._frozen = (version, self._stepper())
        return self._frozen[1]

    def _stepper(self) -> Stepper:
        """Return the network as `advance` uses it."""
        unit = torch.eye(self.n_lags, device=self.scales.device)[..., None]
        place = (self.waves.T, self.inverse_cell.T) if self.has_lattice else None
        sight = None
        if self.sees:
            sight = Sight(self.particles_per_sample, self.cell, self.images, *self.seen)
        return Stepper.of(
            self.dense_weights(),
            differences=self._differences(unit)[..., 0].T.contiguous(),
            motion=torch.cat([self.extrapolation, self.inverse_modes], 1),
            ahead=self.extrapolation.sum(0, keepdim=True),
            place=place,
            sight=sight,
            reach=self.reach.flatten().tolist(),
            keep=self.keep[:, None],
            trace_scales=self.trace_scales[:, None, None],
            components=self.components,
        )


def _by_mode(weight: Tensor, n: int, r: int) -> Tensor:
    """Reorder rows [n (group), r (mode), units] to [r, n, units]."""
    return weight.unflatten(0, (n, r, -1)).swapaxes(0, 1).flatten(0, 2)


def fit_extrapolation(
    displacements: list[np.ndarray], records_per_step: int
) -> dict[str, list[list[float]] | list[float]]:
    """Fit the linear extrapolation of displacements, alike along x, y, z, by least squares.

    Parameters
    ----------
    displacements : list of array, [n, N, 3]
        From record to record, Angstrom.
    records_per_step : int
        r.

    Returns
    -------
    dict
        The arguments `extrapolation`, `modes`, `reach` and `scales` of `TransitionGenerator`.
        Reach is the root of 1 + alpha2 of a mode: rare and long moves, as hops within a record,
        need a mixture that holds them.
    """
    r = records_per_step
    p = max(6, 3 * r)
    moments = _moments(displacements, p + r)
    past, following = slice(p - 1, None, -1), slice(p, None)
    now = moments[past, past]
    weights = np.linalg.solve(now, moments[past, following]).T  # [r, p]
    residual = moments[following, following] - weights @ moments[past, following]
    values, vectors = np.linalg.eigh(residual)
    modes = (vectors / np.sqrt(values)).T[::-1]
    squared = _squared_modes(displacements, weights, modes)
    reach = np.sqrt(np.maximum(1.0, 0.6 * (squared**2).mean(0) / squared.mean(0) ** 2))

    def deviation(combination: list[float]) -> float:
        row = np.zeros(p)
        row[: len(combination)] = combination
        return float(np.sqrt(row @ now @ row))

    ones, minus, twice = [1.0] * r, [-1.0] * r, [-2.0] * r
    scales = [ones, ones + minus, ones + twice + ones, [1.0]]
    return {
        "extrapolation": weights.tolist(),
        "modes": modes.tolist(),
        "reach": reach.tolist(),
        "scales": [deviation(c) for c in scales],
    }


def variance_shells(
    displacements: list[np.ndarray], extrapolation: np.ndarray, modes: np.ndarray
) -> np.ndarray:
    """Return lengths [32] of the slowest mode at equal shares of its variance, in its deviations.

    Of a Gaussian mode all but a hundredth of the variance lies within four deviations.

    Parameters
    ----------
    displacements : list of array, [n, N, 3]
    extrapolation, modes : array, [r, p] and [r, r]
        What `fit_extrapolation` found in them.
    """
    squared = np.sort(_squared_modes(displacements, extrapolation, modes)[:, 0])
    levels = (np.arange(32) + 0.5) / 32
    return np.sqrt(squared[np.searchsorted(squared.cumsum() / squared.sum(), levels)])


def _squared_modes(
    displacements: list[np.ndarray], weights: np.ndarray, modes: np.ndarray
) -> np.ndarray:
    """Return the squared lengths [n, r] of the modes of all steps, extrapolated by `weights`."""
    r, p = weights.shape
    past, following = slice(p - 1, None, -1), slice(p, None)
    squared = []
    for d in displacements:
        windows = np.lib.stride_tricks.sliding_window_view(d, p + r, axis=0)[::r]
        residual = windows[..., following] - windows[..., past] @ weights.T
        squared.append(((residual @ modes.T) ** 2).sum(2).reshape(-1, r))
    return np.concatenate(squared)


def predictable(displacements: list[np.ndarray]) -> bool:
    """Tell whether the last displacements [n, N, 3] tell more than half of the next one.

    They do where the record interval resolves the inertia of an ion. Where they do not, what
    happens within a step of several records is new at each record, and the steps are better short.
    """
    p = 6
    moments = _moments(displacements, p + 1)
    weights = np.linalg.solve(moments[:p, :p], moments[:p, p])
    return bool(weights @ moments[:p, p] > 0.5 * moments[p, p])


def _moments(displacements: list[np.ndarray], length: int) -> np.ndarray:
    """Return the mean products [length, length] in windows of displacements, oldest first."""
    moments, count = np.zeros((length, length)), 0
    for d in displacements:
        windows = np.lib.stride_tricks.sliding_window_view(d, length, axis=0)
        moments += np.tensordot(windows, windows, ((0, 1, 2), (0, 1, 2)))
        count += windows[..., 0].size
    return moments / count


def fit_traces(
    displacements: list[np.ndarray], records_per_step: int, relaxations: Sequence[float]
) -> dict[str, list[float]]:
    """Measure the traces of data.

    Parameters
    ----------
    displacements : list of array, [n, N, 3]
        From record to record, Angstrom.
    records_per_step : int
        r.
    relaxations : sequence of float
        Of the traces, records.

    Returns
    -------
    dict
        The arguments `relaxations` and `trace_scales` of `TransitionGenerator`. Relaxations that
        fewer than `RELAXATIONS_A_RUN` fit into the longest run are left out.
    """
    r = records_per_step
    longest = max(map(len, displacements)) / RELAXATIONS_A_RUN
    steps = [t / r for t in relaxations if t <= longest]
    scales = []
    for relaxation in steps:
        keep, squares, count = math.exp(-1 / relaxation), 0.0, 0
        for d in displacements:
            trace = np.zeros_like(d[0])
            for number, moved in enumerate(d[: len(d) // r * r].reshape(-1, r, *d[0].shape).sum(1)):
                trace = keep * (trace + moved)
                if number >= relaxation:
                    squares, count = squares + (trace**2).sum(), count + trace.size
        scales.append(math.sqrt(squares / count))
    return {"relaxations": steps, "trace_scales": scales}


def group_of(symmetry: Symmetry) -> dict[str, list | None]:
    """Return the arguments of `TransitionGenerator` that hold the built-in part of a symmetry."""
    primitive = symmetry.primitive
    rotations, translations = symmetry.built_in()
    return {
        "rotations": rotations.tolist(),
        "translations": translations.tolist(),
        "primitive": None if primitive is None else primitive.tolist(),
    }


def _find(group: np.ndarray, operation: np.ndarray) -> int:
    distance = np.abs(group - operation).max((1, 2))
    index = int(distance.argmin())
    if distance[index] > 1e-3:
        raise ValueError("the operations do not form a group")
    return index


def _reciprocal_shells(cell: np.ndarray, at_least: int) -> np.ndarray:
    """Return integer indices [m, 3] of the shortest reciprocal vectors, one of each +-pair.

    Whole shells of equal length, so that the point group maps them onto each other.
    """
    indices = np.array([v for v in itertools.product(range(-6, 7), repeat=3) if v > (0, 0, 0)])
    lengths = np.linalg.norm(indices @ np.linalg.inv(cell).T, axis=1)
    order = np.argsort(lengths, kind="stable")
    indices, lengths = indices[order], lengths[order]
    count = at_least
    while count < len(lengths) and lengths[count] - lengths[count - 1] < 1e-4 * lengths[count]:
        count += 1
    return indices[:count]


def _action_on_waves(
    cell: np.ndarray, waves: np.ndarray, rotations: np.ndarray, translations: np.ndarray
) -> np.ndarray:
    """Return matrices [n, 2m, 2m] with phi(R x + t) = M phi(x), phi the cosines, then the sines."""
    inverse = np.linalg.inv(cell)

    def phi(x: np.ndarray) -> np.ndarray:
        angle = 2 * np.pi * x @ inverse @ waves.T
        return np.concatenate([np.cos(angle), np.sin(angle)], 1)

    points = np.random.default_rng(0).random((8 * len(waves), 3)) @ cell
    here = phi(points)
    matrices = []
    for rotation, translation in zip(rotations, translations, strict=True):
        there = phi(points @ rotation.T + translation)
        matrix = np.linalg.lstsq(here, there, rcond=None)[0]
        if np.abs(here @ matrix - there).max() > 1e-2:
            raise ValueError("an operation does not map the lattice onto itself")
        matrices.append(matrix.T)
    return np.array(matrices)
