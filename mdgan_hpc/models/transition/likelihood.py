"""Teacher forcing: the network along windows of data, and the density of what came next."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mdgan_hpc.models.base import State, Window
from mdgan_hpc.models.condition import Told
from mdgan_hpc.models.transition.features import FeatureTable, History
from mdgan_hpc.models.transition.mixture import Bounds, Mixture, saturated
from mdgan_hpc.models.transition.network import Weights
from mdgan_hpc.models.transition.recurrence import recurrent


@dataclass(frozen=True)
class Residuals:
    """How displacements become whitened residuals of a linear extrapolation.

    Attributes
    ----------
    extrapolation : Tensor, [r, p]
    whitening : Tensor, [r, r]
        Angstrom to standard deviations.
    by : Told or None
        Where windows are at several temperatures, or ions of several species: residuals are in
        displacements there.
    inertial : bool
        Displacements are those in the frame of the centre of mass of all atoms (`Recoil`).
    """

    extrapolation: Tensor
    whitening: Tensor
    by: Told | None = None
    inertial: bool = False

    def history(self, window: Window, fill_steps: int) -> History:
        """Cut windows into steps; the first `fill_steps` only fill the moving averages."""
        r, p = self.extrapolation.shape
        k = window.positions.shape[2]
        positions = window.positions.transpose(1, 2).flatten(0, 1)  # [B k, L, 3]
        first = r * fill_steps
        steps = positions[:, p + r :: r] - positions[:, p:-r:r]
        positions = positions[:, first:]
        moving = positions
        if self.inertial:
            if window.inertial is None:
                raise ValueError("the windows do not bring positions in the frame of all atoms")
            moving = window.inertial.transpose(1, 2).flatten(0, 1)[:, first:]
        moved = (moving[:, 1:] - moving[:, :-1]).float()
        past = moved.unfold(1, p, r).flip(-1).swapaxes(2, 3)  # [B, n + 1, p, 3], newest first
        following = torch.unflatten(moved[:, p:], 1, (-1, r))  # [B, n, r, 3]
        extrapolated = torch.einsum("rp,bnpi->bnri", self.extrapolation, past[:, :-1])
        residual = torch.einsum("mr,bnri->bnmi", self.whitening, following - extrapolated)
        told = told_to(window)
        if self.by is not None and told is not None:
            residual = residual / self.by.speed(told)[:, None, None, None]
        described = None
        if window.neighbours is not None:
            described = window.neighbours[:, first + p + r :: r].transpose(1, 2).flatten(0, 1)
        ends = positions[:, p + r :: r]
        medium = window.medium
        if medium is not None:
            medium = medium.repeat_interleave(k)
        return History(past[:, 1:], residual, steps.float(), ends, described, told, medium)


def told_to(window: Window) -> Tensor | None:
    """Return what each particle of windows is told, [B k]: its species, or a temperature."""
    if window.species is not None:
        return window.species.flatten()
    kelvin = window.temperature_k
    return None if kelvin is None else kelvin.repeat_interleave(window.positions.shape[2])


@dataclass(frozen=True)
class Forced:
    """The network along data.

    Attributes
    ----------
    known : State
        Values of the feature table after each step, [B k, n, ...].
    embedded, memory : Tensor, [B k, n, hidden]
    """

    known: State
    embedded: Tensor
    memory: Tensor


def teacher_forced(weights: Weights, features: FeatureTable, history: History) -> Forced:
    """Run the network over data."""
    known = features.along(history)
    embedded = features.inputs_along(known)
    for name in ("embed", "mix"):
        embedded = functional.silu(
            functional.linear(embedded, weights[name], weights[f"{name}_bias"])
        )
    order = ("gates_input", "gates_memory", "gates_input_bias", "gates_memory_bias")
    return Forced(known, embedded, recurrent(embedded, *(weights[name] for name in order)))


def heads(weights: Weights, memory: Tensor, embedded: Tensor) -> Tensor:
    """Return what the head of each residual gets from the past, [..., r * head]."""
    joined = torch.cat([memory, embedded], -1)
    return functional.linear(joined, weights["head"], weights["head_bias"])


def mixtures(
    weights: Sequence[tuple[int, Weights]],
    given: Tensor,
    residual: Tensor,
    *,
    components: int,
    mean_bounds: Tensor,
    bounds: Bounds,
) -> Mixture:
    """Return the mixture of each residual given the slower ones, [r, B, ...].

    Parameters
    ----------
    weights : sequence of int and dict
        How many samples, one after another, get which `Network.dense_weights`; of these the last
        layer may differ.
    given : Tensor, [B, r * head]
        Of `heads`.
    residual : Tensor, [B, r, 3]
        Whitened, of the step.
    components : int
        K.
    mean_bounds : Tensor, [r, 1, 1]
    bounds : Bounds
    """
    given = torch.unflatten(given, -1, (residual.shape[1], -1)).swapaxes(0, 1)
    slower = saturated(residual, bounds.vectors).flatten(1) @ weights[0][1]["earlier"].mT
    inner = functional.silu(given + slower)
    each = []
    sizes = [n for n, _ in weights]
    for (_, own), part in zip(weights, torch.split(inner, sizes, 1), strict=True):
        bias, matrix = (bounds.gaussians_last(own[w], components) for w in ("out_bias", "out"))
        # Samples last in memory: what follows then runs along long rows.
        each.append(torch.baddbmm(bias[..., None], matrix, part.mT))
    out = each[0] if len(each) == 1 else torch.cat(each, -1)
    return Mixture.of(out.mT, components, mean_bounds, bounds)
