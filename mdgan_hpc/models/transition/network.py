"""The network: free weights, and the ordinary matrices that they make symmetric under a group."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mdgan_hpc.crystal.reciprocal import reciprocal_shells
from mdgan_hpc.models.transition.config import TransitionConfig
from mdgan_hpc.models.transition.equivariance import (
    action_on_waves,
    input_action,
    quotients,
    spread,
)
from mdgan_hpc.models.transition.features import FeatureTable
from mdgan_hpc.models.transition.mixture import Bounds
from mdgan_hpc.models.transition.shared_noise import SharedNoise
from mdgan_hpc.models.transition.surroundings import Neighbours

Weights = dict[str, Tensor]


class Network(nn.Module):
    """Embedding, gated recurrent unit and heads, with weights shared over the group.

    Parameters
    ----------
    group : array, [n, 3, 3]
        Rotations.
    n_vectors, n_scalars : int
        Inputs beside waves.
    lattice_action : array, [n, 2 m, 2 m]
        How operations act on the waves (`action_on_waves`).
    hidden, head, components : int
        Units and Gaussians asked for; a multiple of n each, at least n.
    records_per_step : int
        r.
    shells : int
        Of the neighbour descriptor; 0 where each ion is alone.
    bounds : Bounds
    slope : float
        Unless 0, the mixtures have a slope with the temperature: what the network gives is then
        linear in 1/T (logarithms of rates and of widths) and in 1/sqrt(T) (lengths), with one
        memory at all temperatures. What it takes from the memory is so interpolated as physics
        does it; a network that has the temperature as one more input interpolates as it likes.
        The slopes are so many times the weights that stand for them: an optimiser moves all
        weights alike, and slopes that grow as fast as the rest take up the noise of the training,
        which between two temperatures makes mixtures that fit at neither.
    """

    rotations: Tensor
    log_noise: Tensor
    noise_slope: Tensor
    friction: Tensor
    coupling: Tensor
    everyone: Tensor
    quotient: Tensor
    action: Tensor

    def __init__(
        self,
        group: np.ndarray,
        *,
        n_vectors: int,
        n_scalars: int,
        lattice_action: np.ndarray,
        hidden: int,
        head: int,
        components: int,
        records_per_step: int,
        shells: int,
        bounds: Bounds,
        slope: float = 0.0,
    ) -> None:
        super().__init__()
        self.bounds, self.records_per_step, self.slope = bounds, records_per_step, slope
        self.n_operations = n = len(group)
        self.channels = max(1, round(hidden / n))
        self.hidden = n * self.channels
        self.head_channels = max(1, round(head / n))
        self.orbits = max(1, round(components / (records_per_step * n)))
        self.components = n * self.orbits
        action = input_action(group, n_vectors, lattice_action, n_scalars)
        self.n_inputs = action.shape[1]
        self.register_buffer("log_noise", torch.tensor(0.0))
        self.register_buffer("noise_slope", torch.tensor(0.0))  # `NoiseByEnergy`
        self.register_buffer("friction", torch.tensor(0.0))  # `Friction`
        r = records_per_step
        self.register_buffer("coupling", torch.zeros(2, r, r, shells))  # `SharedNoise`
        self.register_buffer("everyone", torch.zeros(r, r))
        self.register_buffer("rotations", torch.as_tensor(group, dtype=torch.float32))
        self.register_buffer("quotient", torch.from_numpy(quotients(group)))
        self.register_buffer("action", torch.as_tensor(action, dtype=torch.float32))
        self._make_weights()
        if slope:
            self._make_slopes()

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
        r, e, vectors = self.records_per_step, self.head_channels, 1 + self.bounds.directions
        self.head = uniform(n, 2, r * e, c, fan_in=2 * self.hidden)
        self.head_bias = nn.Parameter(torch.zeros(r * e))
        self.earlier = uniform(r, e, 3 * r, fan_in=3 * r)
        small = 0.1 / math.sqrt(n * e)
        self.scalars = nn.Parameter(torch.randn(n, r, 2, q, e) * small)
        self.vectors = nn.Parameter(torch.randn(n, r, q, vectors, 3, e) * small)
        widths = torch.linspace(-1.0, 0.2, q) if q > 1 else torch.tensor([-0.3])
        self.scalars_bias = nn.Parameter(torch.stack([torch.zeros(q), widths]).repeat(r, 1, 1))
        self.vectors_bias = nn.Parameter(0.3 * torch.randn(r, q, vectors, 3))

    def _make_slopes(self) -> None:
        """Begin with what is the same at all temperatures."""
        for name in ("scalars", "vectors", "scalars_bias", "vectors_bias"):
            slope = torch.zeros_like(getattr(self, name))
            self.register_parameter(f"{name}_slope", nn.Parameter(slope))

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *others: Any) -> None:
        for name in ("coupling", "everyone", "friction"):  # models of before have none
            state.setdefault(prefix + name, torch.zeros_like(getattr(self, name)))
        super()._load_from_state_dict(state, prefix, *others)

    def begin_at(self, shells: np.ndarray, *, far: float, far_width: float) -> None:
        """Let Gaussians of the slowest residual begin where its variance is, if that is far out.

        Likelihood moves a Gaussian by the data near it: the shell of hops of one length is found by
        those that begin there.

        Parameters
        ----------
        shells : array, [s]
            Of `variance_shells`.
        far : float
            Standard deviations: shells of the variance that no Gaussian residual has.
        far_width : float
            Width of a Gaussian that begins there, over its distance.
        """
        # Each orbit at its share of the variance.
        at = ((np.arange(self.orbits) + 0.5) / self.orbits * len(shells)).astype(int)
        radius = torch.from_numpy(shells[at]).float()
        somewhere = functional.normalize(torch.randn(self.orbits, 3), dim=-1)
        with torch.no_grad():
            out = radius > far
            self.vectors_bias[0, out, 0] = self.bounds.shortened(radius[:, None] * somewhere)[out]
            self.scalars_bias[0, 1, out] = (far_width * radius).log()[out]

    def take(self, shared: SharedNoise) -> None:
        """Keep how ions share their noise in free runs."""
        self.coupling.copy_(shared.coupling)
        self.everyone.copy_(shared.everyone)

    def dense_weights(self) -> Weights:
        """Return ordinary matrices whose structure makes the network symmetric."""
        weights = {**self._recurrent_weights(), "earlier": self._from_earlier()}
        names = "scalars", "vectors", "scalars_bias", "vectors_bias"
        own = [getattr(self, name) for name in names]
        weights["out"], weights["out_bias"] = self._out(*own, log_width=self.log_noise)
        if self.slope:
            own = [self.slope * getattr(self, f"{name}_slope") for name in names]
            weights["out_slope"], weights["out_bias_slope"] = self._out(*own)
        return weights

    def _recurrent_weights(self) -> Weights:
        n, r = self.n_operations, self.records_per_step
        gates = [
            torch.cat([spread(w[:, j], self.quotient) for j in range(3)])
            for w in (self.gates_input, self.gates_memory)
        ]
        gate_biases = [
            b[:, None].expand(3, n, self.channels).reshape(-1)
            for b in (self.gates_input_bias, self.gates_memory_bias)
        ]
        head = torch.cat([spread(self.head[:, j], self.quotient) for j in range(2)], 1)
        return {
            "embed": torch.einsum("cu,guv->gcv", self.embed, self.action).reshape(
                self.hidden, self.n_inputs
            ),
            "embed_bias": self.embed_bias.repeat(n),
            "mix": spread(self.mix, self.quotient),
            "mix_bias": self.mix_bias.repeat(n),
            "gates_input": gates[0],
            "gates_memory": gates[1],
            "gates_input_bias": gate_biases[0],
            "gates_memory_bias": gate_biases[1],
            "head": _by_residual(head, n, r),
            "head_bias": _by_residual(self.head_bias.repeat(n), n, r),
        }

    def _from_earlier(self) -> Tensor:
        """What the head of each residual gets from the slower ones, [r, n e, 3 r]."""
        n, r = self.n_operations, self.records_per_step
        # A residual depends on the slower ones before it: zero where it may not look.
        looks = torch.ones(r, r, device=self.earlier.device).tril(-1)
        earlier = self.earlier * looks.repeat_interleave(3, 1)[:, None]
        turn = torch.einsum("mn,gij->gminj", torch.eye(r, device=looks.device), self.rotations.mT)
        turned = torch.einsum("mcu,guv->mgcv", earlier, turn.reshape(n, 3 * r, 3 * r))
        return turned.flatten(1, 2)

    def _out(
        self,
        scalars: Tensor,
        vectors: Tensor,
        scalars_bias: Tensor,
        vectors_bias: Tensor,
        *,
        log_width: Tensor | float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Matrix and bias of the last layer from the weights of each orbit of Gaussians."""
        n, r, e = self.n_operations, self.records_per_step, self.head_channels
        # Gaussians form orbits, which the group maps onto themselves: without any direction in the
        # past those of an orbit still lie about the origin and not at it.
        scalars = scalars[self.quotient].permute(2, 3, 0, 4, 1, 5).reshape(r, -1, n * e)
        vectors = torch.einsum("gij,ghmqvjc->mgqvihc", self.rotations, vectors[self.quotient])
        weights_bias, width_bias = scalars_bias.unbind(1)
        scalars_bias = torch.stack([weights_bias, width_bias + log_width], 1)
        scalars_bias = scalars_bias[:, :, None].expand(r, 2, n, -1).flatten(1)
        vectors_bias = torch.einsum("gij,mqvj->mgqvi", self.rotations, vectors_bias)
        return (
            torch.cat([scalars, vectors.reshape(r, -1, n * e)], 1),
            torch.cat([scalars_bias, vectors_bias.flatten(1)], 1),
        )


def network_of(
    config: TransitionConfig,
    features: FeatureTable,
    symmetry: tuple[list[list[list[float]]], list[list[float]]],
    primitive: np.ndarray | None,
    records_per_step: int,
    *,
    slopes: bool,
) -> Network:
    """Return the network for a feature table, with fresh weights.

    Parameters
    ----------
    config : TransitionConfig
    features : FeatureTable
    symmetry : nested lists, [n, 3, 3] and [n, 3]
        Rotations and translations of the group (`Symmetry`).
    primitive : array, [3, 3], or None
        Primitive cell; without it there are no waves.
    records_per_step : int
    slopes : bool
        Whether the mixtures have slopes with the temperature (`Network`).
    """
    group, translations = np.array(symmetry[0]), np.array(symmetry[1])
    action = np.zeros((len(group), 0, 0))
    if primitive is not None:
        waves = reciprocal_shells(primitive, config.reciprocal_vectors)
        action = action_on_waves(primitive, waves, group, translations)
    row = features.row(Neighbours)
    return Network(
        group,
        n_vectors=features.n_vectors,
        n_scalars=features.n_scalars,
        lattice_action=action,
        hidden=config.hidden,
        head=config.head,
        components=config.components,
        records_per_step=records_per_step,
        shells=0 if row is None else len(row.descriptor().radii),
        bounds=Bounds.of(config),
        slope=config.temperature_slope if slopes else 0.0,
    )


def _by_residual(weight: Tensor, n: int, r: int) -> Tensor:
    """Reorder rows [n (group), r (residual), units] to [r, n, units]."""
    return torch.unflatten(weight, 0, (n, r, -1)).swapaxes(0, 1).flatten(0, 2)
