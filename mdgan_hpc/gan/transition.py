"""A recurrent transition density of one ion, exactly symmetric under a finite group.

At each step the network gives the joint density of the next few displacements: a linear
extrapolation of the last ones plus a mixture of Gaussians whose weights, means and covariances
depend on the last displacements, on the place in the primitive cell, and on a memory (a gated
recurrent unit). A step spans several records because the force on an ion stays alike for tens of
femtoseconds: errors of shorter steps are not independent and add up in free runs. Because the
density is tractable, the rate of rare events (hops) is held by the likelihood of the data, which
an adversarial game alone does not hold still.

Symmetry: hidden units carry the regular representation of a finite group, so that turning the
past turns the predicted future (group convolutions, T. Cohen and M. Welling, ICML 2016, section
6). With the inversion in it, the mean displacement is zero by construction. The place enters only
through cosines and sines of reciprocal lattice vectors, so that lattice translations are exact.
"""

import itertools
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mdgan_hpc.gan.generator import Generator, State
from mdgan_hpc.gan.stepping import DIRECTION, LOG_WIDTH, SATURATION, Stepper, saturated
from mdgan_hpc.gan.symmetry import Symmetry

#: Records of data that fill the memory before a free run, about.
_HISTORY = 96


class TransitionGenerator(Generator):
    """Recurrent mixture density for the next r displacements.

    Parameters
    ----------
    extrapolation : list of list of float, [r, p]
        Weights of the last displacements, newest first, in the r extrapolated ones.
    modes : list of list of float, [r, r]
        Rows turn the residuals of the extrapolation (Angstrom) into uncorrelated modes of
        variance one.
    scales : list of float, [4]
        Standard deviations, Angstrom: displacement over r records, its first and second
        difference, displacement of one record.
    rotations, translations : nested list, [n, 3, 3] and [n, 3]
        The group (`Symmetry`).
    primitive : nested list, [3, 3], or None
        Primitive cell; without it the place is not seen.
    hidden : int
        Units of the memory, a multiple of n at least.
    components : int
        Gaussians in the mixture.
    directions : int
        Vectors v in the covariance s^2 (1 + sum v v^T) of each.
    reciprocal_vectors : int
        Least number of reciprocal vectors (whole shells are taken).
    pool : int
        Number of stored start states.
    """

    extrapolation: Tensor
    modes: Tensor
    inverse_modes: Tensor
    scales: Tensor
    rotations: Tensor
    cell: Tensor
    inverse_cell: Tensor
    waves: Tensor
    _product: Tensor
    _input_action: Tensor

    def __init__(
        self,
        *,
        extrapolation: list[list[float]],
        modes: list[list[float]],
        scales: list[float],
        rotations: list[list[list[float]]],
        translations: list[list[float]],
        primitive: list[list[float]] | None,
        hidden: int,
        components: int,
        directions: int = 2,
        reciprocal_vectors: int = 24,
        pool: int = 2048,
    ) -> None:
        super().__init__()
        group = np.array(rotations)
        self.n_operations = n = len(group)
        self.channels = channels = max(1, round(hidden / n))
        self.hidden = n * channels
        self.components, self.directions = components, directions
        self.records_per_step = r = len(extrapolation)
        self.n_lags = p = len(extrapolation[0])
        if p < 3 * r:
            raise ValueError(f"{p} lags are too few for {r} records a step")
        self.has_lattice = primitive is not None
        self.start_size = 1
        self.noise_size = 1 + 3 * r + directions
        self.history_records = self.whole_window(_HISTORY)
        self.pool_size = pool
        self._buffer("extrapolation", extrapolation)
        self._buffer("modes", modes)
        self._buffer("inverse_modes", np.linalg.inv(modes))
        # One record a step: the displacement over the step is that of the last record.
        self._buffer("scales", scales[: 3 if r == 1 else 4])
        n_vectors = len(self.scales) + 1
        self._buffer("rotations", group)
        product = np.array([[_find(group, a.T @ b) for b in group] for a in group])
        self.register_buffer("_product", torch.from_numpy(product))  # index of a^-1 b
        lattice_action = np.zeros((n, 0, 0))
        if primitive is not None:
            cell = np.array(primitive)
            waves = _reciprocal_shells(cell, reciprocal_vectors)
            lattice_action = _action_on_waves(cell, waves, group, np.array(translations))
            self._buffer("inverse_cell", np.linalg.inv(cell))
            self._buffer("cell", cell)
            self._buffer("waves", 2 * np.pi * waves.T)
        n_waves = lattice_action.shape[1]
        self.n_inputs = n_inputs = 3 * n_vectors + n_waves
        action = np.zeros((n, n_inputs, n_inputs))
        for g in range(n):
            action[g, : 3 * n_vectors, : 3 * n_vectors] = np.kron(np.eye(n_vectors), group[g])
            action[g, 3 * n_vectors :, 3 * n_vectors :] = lattice_action[g]
        inverse = [_find(group, g.T) for g in group]
        self._buffer("_input_action", action[inverse])
        self._make_weights()
        states = self._zero_state(pool)
        for name, value in states.items():
            self.register_buffer(f"pool_{name}", value)
        self._frozen: tuple[int, Stepper] | None = None

    def _buffer(self, name: str, values: object) -> None:
        self.register_buffer(name, torch.as_tensor(np.array(values), dtype=torch.float32))

    def _make_weights(self) -> None:
        """Free weights; `dense_weights` spreads them over the group."""
        n, c, k, inputs = self.n_operations, self.channels, self.components, self.n_inputs

        def uniform(*shape: int, fan_in: float) -> nn.Parameter:
            return nn.Parameter((torch.rand(*shape) * 2 - 1) / math.sqrt(fan_in))

        self.embed = uniform(c, inputs, fan_in=inputs / 3)
        self.embed_bias = nn.Parameter(torch.zeros(c))
        self.gates_input = uniform(n, 3, c, c, fan_in=self.hidden)
        self.gates_memory = uniform(n, 3, c, c, fan_in=self.hidden)
        self.gates_input_bias = uniform(3, c, fan_in=self.hidden)
        self.gates_memory_bias = uniform(3, c, fan_in=self.hidden)
        self.head = uniform(n, 2, c, c, fan_in=2 * self.hidden)
        self.head_bias = nn.Parameter(torch.zeros(c))
        small = 0.1 / math.sqrt(self.hidden)
        r = self.records_per_step
        self.scalars = nn.Parameter(torch.randn(k * (1 + r), c) * small)
        self.vectors = nn.Parameter(torch.randn(k * (1 + self.directions) * r, 3, c) * small)
        widths = torch.linspace(-1.0, 0.2, k) if k > 1 else torch.tensor([-0.3])
        self.scalars_bias = nn.Parameter(torch.cat([torch.zeros(k), widths.repeat_interleave(r)]))

    def _convolution(self, weight: Tensor) -> Tensor:
        """Spread [n, c, c] over the group: block (g, h) is the weight of g^-1 h."""
        return weight[self._product].permute(0, 2, 1, 3).reshape(self.hidden, self.hidden)

    def dense_weights(self) -> dict[str, Tensor]:
        """Return ordinary matrices whose structure makes the network symmetric."""
        n = self.n_operations
        gates = [
            torch.cat([self._convolution(w[:, j]) for j in range(3)])
            for w in (self.gates_input, self.gates_memory)
        ]
        gate_biases = [
            b[:, None].expand(3, n, self.channels).reshape(-1)
            for b in (self.gates_input_bias, self.gates_memory_bias)
        ]
        out = torch.cat(
            [
                self.scalars.repeat(1, n),
                torch.einsum("gij,kjc->kigc", self.rotations, self.vectors).reshape(
                    -1, self.hidden
                ),
            ]
        )
        return {
            "embed": torch.einsum("cu,guv->gcv", self.embed, self._input_action).reshape(
                self.hidden, self.n_inputs
            ),
            "embed_bias": self.embed_bias.repeat(n),
            "gates_input": gates[0],
            "gates_memory": gates[1],
            "gates_input_bias": gate_biases[0],
            "gates_memory_bias": gate_biases[1],
            "head": torch.cat([self._convolution(self.head[:, j]) for j in range(2)], 1),
            "head_bias": self.head_bias.repeat(n),
            "out": out,
            "out_bias": torch.cat(
                [self.scalars_bias, self.scalars_bias.new_zeros(len(out) - len(self.scalars_bias))]
            ),
        }

    # What the network sees and gives ---------------------------------------------------------

    def _inputs(self, place: Tensor | None, lagged: Tensor, residual: Tensor) -> Tensor:
        """Return the inputs [..., n_inputs].

        `place` [..., 3] is fractional in the primitive cell, `lagged` [..., p, 3] are the last
        displacements, newest first, `residual` [..., r, 3] the modes of the last step. Of the
        motion within a step only the last displacement and the slowest mode are seen: an error
        in the fast modes then cannot feed on itself.
        """
        seen = torch.cat([self._differences(lagged), residual[..., :1, :]], -2)
        parts = [saturated(seen, SATURATION).flatten(-2)]
        if place is not None:
            phase = place @ self.waves
            parts += [phase.cos(), phase.sin()]
        return torch.cat(parts, -1)

    def _differences(self, lagged: Tensor) -> Tensor:
        """Return scaled differences [..., v, 3] of the last displacements [..., p, 3]."""
        r = self.records_per_step
        a, b, c = (lagged[..., i * r : (i + 1) * r, :].sum(-2) for i in range(3))
        vectors = [a, a - b, a - 2 * b + c]
        if r > 1:
            vectors.append(lagged[..., 0, :])
        return torch.stack(vectors, -2) / self.scales[:, None]

    def _mixture(
        self, weights: dict[str, Tensor], memory: Tensor, embedded: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return log weights [..., K], log widths [..., K, r], means [..., K, r, 3], directions.

        The directions are [..., K, directions, r, 3]; all in units of the modes.
        """
        joined = torch.cat([memory, embedded], -1)
        inner = functional.silu(functional.linear(joined, weights["head"], weights["head_bias"]))
        out = functional.linear(inner, weights["out"], weights["out_bias"])
        k, r = self.components, self.records_per_step
        scalars, vectors = out[..., : k * (1 + r)], out[..., k * (1 + r) :]
        vectors = vectors.unflatten(-1, (k, 1 + self.directions, r, 3))
        return (
            scalars[..., :k].log_softmax(-1),
            scalars[..., k:].unflatten(-1, (k, r)).clamp(*LOG_WIDTH),
            saturated(vectors[..., 0, :, :], SATURATION),
            saturated(vectors[..., 1:, :, :], DIRECTION),
        )

    # Likelihood -----------------------------------------------------------------------------

    def whole_window(self, records: int) -> int:
        """Return the least window, in records, of at least this many that holds whole steps."""
        r = self.records_per_step
        return 1 + self.n_lags + r * -(-records // r)

    def _teacher_forced(self, weights: dict[str, Tensor], positions: Tensor) -> dict[str, Tensor]:
        """Run over data [B, L, 3] (float64) of n steps; return what each left, [B, n, ...]."""
        p, r = self.n_lags, self.records_per_step
        moved = (positions[:, 1:] - positions[:, :-1]).float()
        past = moved.unfold(1, p, r).flip(-1).swapaxes(2, 3)  # [B, n + 1, p, 3], newest first
        following = moved[:, p:].unflatten(1, (-1, r))  # [B, n, r, 3]
        extrapolated = torch.einsum("rp,bnpi->bnri", self.extrapolation, past[:, :-1])
        residual = torch.einsum("mr,bnri->bnmi", self.modes, following - extrapolated)
        lagged = past[:, 1:]
        place = None
        if self.has_lattice:
            fraction = positions[:, p + r :: r] @ self.inverse_cell.double()
            place = (fraction - fraction.floor()).float()
        inputs = self._inputs(place, lagged, residual)
        embedded = functional.silu(
            functional.linear(inputs, weights["embed"], weights["embed_bias"])
        )
        order = ("gates_input", "gates_memory", "gates_input_bias", "gates_memory_bias")
        start = embedded.new_zeros(1, len(embedded), self.hidden)
        memory, _ = torch.gru(
            embedded, start, [weights[name] for name in order], True, 1, 0.0, False, False, True
        )
        known = {"embedded": embedded, "memory": memory, "residual": residual, "lagged": lagged}
        if place is not None:
            known["place"] = place
        return known

    def negative_log_likelihood(self, positions: Tensor, *, warm_up: int) -> Tensor:
        """Return the mean negative log density of a record, in nats, in units of the modes.

        Parameters
        ----------
        positions : Tensor, [B, L, 1, 3]
            Windows of data, Angstrom, float64; L from `whole_window`.
        warm_up : int
            First records of a window that only fill the memory.
        """
        r = self.records_per_step
        skipped = -(-warm_up // r)
        weights = self.dense_weights()
        known = self._teacher_forced(weights, positions[:, :, 0])
        memory, embedded = known["memory"][:, skipped:-1], known["embedded"][:, skipped:-1]
        mixture = self._mixture(weights, memory, embedded)
        return -_log_density(known["residual"][:, skipped + 1 :], *mixture).mean() / r

    def condition(self, positions: Tensor) -> State:
        """Return the state at the end of windows of data [B, L, 1, 3]."""
        known = self._teacher_forced(self.dense_weights(), positions[:, :, 0])
        state = {
            "displacements": known["lagged"][:, -1],
            "residual": known["residual"][:, -1],
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
            "memory": torch.zeros(n, self.hidden),
        }
        if self.has_lattice:
            state["place"] = torch.zeros(n, 3)
        return state

    def set_pool(self, positions: Tensor) -> None:
        """Take the ends of windows of data [pool, L, 1, 3] as the start states."""
        with torch.no_grad():
            for name, value in self.condition(positions).items():
                getattr(self, f"pool_{name}").copy_(value)

    def start(self, uniform: Tensor) -> tuple[State, Tensor]:
        """Draw stored start states; see `Generator.start`."""
        index = (uniform[:, 0] * self.pool_size).long().clamp_(max=self.pool_size - 1)
        names = self._zero_state(0)
        state = {name: getattr(self, f"pool_{name}")[index] for name in names}
        position = uniform.new_zeros(len(uniform), 1, 3)
        if self.has_lattice:
            position = (state["place"] @ self.cell)[:, None]
        return state, position

    def advance(self, state: State, noise: Tensor) -> tuple[Tensor, State]:
        """Go on step by step; see `Generator.advance`."""
        if torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters()):
            return self._stepper().run(state, noise)
        # Kept until a parameter changes.
        version = hash(tuple((id(p), p._version, p.device) for p in self.parameters()))
        if self._frozen is None or self._frozen[0] != version:
            with torch.no_grad():
                self._frozen = (version, self._stepper())
        return self._frozen[1].run(state, noise)

    def _stepper(self) -> Stepper:
        """Return the network as `advance` uses it."""
        unit = torch.eye(self.n_lags, device=self.scales.device)[..., None]
        place = (self.waves.T, self.inverse_cell.T) if self.has_lattice else None
        return Stepper.of(
            self.dense_weights(),
            differences=self._differences(unit)[..., 0].T.contiguous(),
            motion=torch.cat([self.extrapolation, self.inverse_modes], 1),
            place=place,
            components=self.components,
        )


def _log_density(
    residual: Tensor, log_weights: Tensor, widths: Tensor, means: Tensor, directions: Tensor
) -> Tensor:
    """Return the log density of a mixture with covariances S (1 + V V^T) S, S diagonal.

    Shapes: [..., r, 3], [..., K], [..., K, r], [..., K, r, 3], [..., K, d, r, 3]. Inverse and
    determinant through the d x d matrix 1 + V^T V (Woodbury).
    """
    z = ((residual[..., None, :, :] - means) * torch.exp(-widths)[..., None]).flatten(-2)
    v = directions.flatten(-2)
    inner = v @ v.mT + torch.eye(v.shape[-2], device=v.device)
    factor = torch.linalg.cholesky(inner)
    along = torch.linalg.solve_triangular(factor, v @ z[..., None], upper=False)
    square = z.square().sum(-1) - along.square().sum((-1, -2))
    logdet = 3 * widths.sum(-1) + factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    normal = -logdet - 0.5 * z.shape[-1] * math.log(2 * math.pi)
    return (log_weights - 0.5 * square + normal).logsumexp(-1)


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
        The arguments `extrapolation`, `modes` and `scales` of `TransitionGenerator`.
    """
    r = records_per_step
    p = max(6, 3 * r)
    # Normal equations of all windows [..., p + r], oldest first.
    moments = np.zeros((p + r, p + r))
    count = 0
    for d in displacements:
        windows = np.lib.stride_tricks.sliding_window_view(d, p + r, axis=0)
        moments += np.tensordot(windows, windows, ((0, 1, 2), (0, 1, 2)))
        count += windows[..., 0].size
    moments /= count
    past, following = slice(p - 1, None, -1), slice(p, None)
    now = moments[past, past]
    weights = np.linalg.solve(now, moments[past, following]).T  # [r, p]
    residual = moments[following, following] - weights @ moments[past, following]
    values, vectors = np.linalg.eigh(residual)
    modes = (vectors / np.sqrt(values)).T[::-1]

    def deviation(combination: list[float]) -> float:
        row = np.zeros(p)
        row[: len(combination)] = combination
        return float(np.sqrt(row @ now @ row))

    ones, minus, twice = [1.0] * r, [-1.0] * r, [-2.0] * r
    scales = [ones, ones + minus, ones + twice + ones, [1.0]]
    return {
        "extrapolation": weights.tolist(),
        "modes": modes.tolist(),
        "scales": [deviation(c) for c in scales],
    }


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
