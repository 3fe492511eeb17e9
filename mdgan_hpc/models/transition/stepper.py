"""The inference kernel: free runs of a transition density, laid out for speed.

The network step by step, with samples in columns: operations on vectors and gates then run over
contiguous rows. Biases are columns of the matrices, and the Gaussian is chosen before its mean and
directions are bounded, so that those of one are. What the network sees is the feature table's.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mdgan_hpc.models.base import State
from mdgan_hpc.models.transition.features import Compiled, Step, joined
from mdgan_hpc.models.transition.friction import Friction
from mdgan_hpc.models.transition.mixture import Bounds, NoiseByEnergy, saturated, tiled
from mdgan_hpc.models.transition.network import Weights
from mdgan_hpc.models.transition.recoil import Recoil
from mdgan_hpc.models.transition.repulsion import Repulsion
from mdgan_hpc.models.transition.shared_noise import SharedNoise
from mdgan_hpc.models.transition.thermostat import HeldMotion


@dataclass(frozen=True)
class MixtureSampler:
    """Draws the residuals of a step, each from its mixture given the slower ones.

    Attributes
    ----------
    earlier : list of Tensor, [e, 3 m]
        For the m slower residuals.
    out : list of Tensor, [K (2 + 3 (1 + directions)), e + 1]
        Mixture of each residual.
    components : int
        K.
    mean_bounds : list of float, [r]
    bounds : Bounds
    """

    earlier: list[Tensor]
    out: list[Tensor]
    components: int
    mean_bounds: list[float]
    bounds: Bounds

    def to(self, precision: torch.dtype) -> "MixtureSampler":
        """Return it with matrices in a precision."""
        earlier = [matrix.to(precision) for matrix in self.earlier]
        out = [matrix.to(precision) for matrix in self.out]
        return MixtureSampler(earlier, out, self.components, self.mean_bounds, self.bounds)

    def draw(self, noise: Tensor, heads: Tensor) -> Tensor:
        """Draw residuals [r, 3, B], whitened.

        Parameters
        ----------
        noise : Tensor, [4 r, B]
            Standard normal numbers: r choose the Gaussians, r by 3 spread them.
        heads : Tensor, [r e, B]
            What the head of each residual gets from the past.
        """
        bounds, r, n = self.bounds, len(self.out), noise.shape[1]
        uniform = 0.5 * torch.erfc(noise[:r] * -math.sqrt(0.5))
        normal = noise[r:].view(r, 3, n)
        heads = heads.view(r, -1, n)
        one = heads.new_ones(1, n)
        stretch = [bounds.direction] * bounds.directions
        means = bounds.mean_limits(torch.tensor(self.mean_bounds, dtype=torch.float64)).tolist()
        limits = noise.new_tensor([[far, *stretch] for far in means])
        drawn: list[Tensor] = []
        slower = heads.new_empty(0, n)
        for number in range(r):
            inner = functional.silu(torch.addmm(heads[number], self.earlier[number], slower))
            given = (self.out[number] @ torch.cat([inner, one])).float()
            logits, widths, rest = bounds.split(given, self.components, 0)
            chosen = (logits.softmax(0).cumsum(0)[:-1] < uniform[number]).sum(0)
            width = widths.gather(0, chosen[None])
            most = bounds.log_width_most + math.log(self.mean_bounds[number])
            width = width.clamp(bounds.log_width_least, most).exp()
            rest = rest.view(self.components, -1, n)
            vectors = rest.gather(0, chosen.expand(1, rest.shape[1], n)).view(-1, 3, n)
            mean, *directions = saturated(vectors, limits[number, :, None, None], 1).unbind()
            mean = bounds.stretched(mean, 0)
            step = normal[number]
            for direction in directions:
                step = torch.addcmul(step, direction, (direction * step).sum(0))
            drawn.append(torch.addcmul(mean, width, step))
            slower = torch.cat([slower, saturated(drawn[-1], bounds.vectors, 0).to(slower.dtype)])
        return torch.stack(drawn)


@dataclass(frozen=True)
class InferenceKernel:
    """The matrices of a free run, each for the rows that its step puts together.

    Attributes
    ----------
    embed, mix : Tensor, [h, inputs + 1] and [h, h + 1]
        For the inputs and one, and for what comes of them and one.
    gates : Tensor, [2 h, 2 h + 1]
        Reset and keep gates, for embedding, one and memory.
    fresh, old : Tensor, [h, h + 1]
        Candidate, for embedding and one; and for one and memory.
    head : Tensor, [r e, 2 h + 1]
        For embedding, one and memory; e units for each residual.
    sampler : MixtureSampler
    motion : Tensor, [r, p + r]
        Next displacements from the last ones and the residual.
    features : list of Compiled
    noise : NoiseByEnergy
    shared : SharedNoise or None
    bounds : Bounds
    scale : Tensor, [k], or None
        Of the residuals of each ion of a cell, where they are of several species.
    held : HeldMotion or None
        Of a liquid.
    repulsion : Repulsion or None
        Of ions that see each other.
    recoil : Recoil or None
        Of the framework of a crystal.
    friction : Friction or None
    """

    embed: Tensor
    mix: Tensor
    gates: Tensor
    fresh: Tensor
    old: Tensor
    head: Tensor
    sampler: MixtureSampler
    motion: Tensor
    features: list[Compiled]
    noise: NoiseByEnergy
    shared: SharedNoise | None
    bounds: Bounds
    scale: Tensor | None = None
    held: HeldMotion | None = None
    repulsion: Repulsion | None = None
    recoil: Recoil | None = None
    friction: Friction | None = None

    @classmethod
    def of(
        cls,
        weights: Weights,
        features: list[Compiled],
        *,
        motion: Tensor,
        components: int,
        mean_bounds: list[float],
        noise: NoiseByEnergy,
        shared: SharedNoise | None,
        bounds: Bounds,
        friction: Tensor,
        scale: Tensor | None = None,
        held: HeldMotion | None = None,
        recoil: Recoil | None = None,
    ) -> "InferenceKernel":
        """Put the dense weights of a network together."""
        h = len(weights["embed"])

        def column(name: str) -> Tensor:
            return weights[f"{name}_bias"][:, None]

        new, memory = weights["gates_input"], weights["gates_memory"]
        new_bias, memory_bias = column("gates_input"), column("gates_memory")
        both, last = slice(0, 2 * h), slice(2 * h, None)
        earlier = [w[:, : 3 * number] for number, w in enumerate(weights["earlier"])]
        measured = next((row.repulsion for row in features if row.repulsion is not None), None)
        out = list(torch.cat([weights["out"], weights["out_bias"][..., None]], 2))
        return cls(
            embed=torch.cat([weights["embed"], column("embed")], 1),
            mix=torch.cat([weights["mix"], column("mix")], 1),
            gates=torch.cat([new[both], (new_bias + memory_bias)[both], memory[both]], 1),
            fresh=torch.cat([new[last], new_bias[last]], 1),
            old=torch.cat([memory_bias[last], memory[last]], 1),
            head=torch.cat([weights["head"][:, h:], column("head"), weights["head"][:, :h]], 1),
            sampler=MixtureSampler(earlier, out, components, mean_bounds, bounds),
            motion=motion,
            features=features,
            noise=noise,
            shared=shared,
            bounds=bounds,
            scale=scale,
            held=held,
            repulsion=Repulsion.of(measured, motion, noise.mean_square, scale),
            recoil=recoil,
            friction=Friction.of(friction, motion, scale),
        )

    def run(self, state: State, noise: Tensor) -> tuple[Tensor, State]:
        """Take one step for each row of `noise` [n, B, 4 r]; see `Generator.advance`.

        Under autocast the network runs in the lower precision; displacements, places and their
        phases always in single.
        """
        device = noise.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        with torch.autocast(device, enabled=False):
            return self._run(state, noise, low or torch.float32)

    def _run(self, state: State, noise: Tensor, precision: torch.dtype) -> tuple[Tensor, State]:
        n_samples, h, r = noise.shape[1], len(self.fresh), len(self.motion)
        embed, mix, gates, fresh, old, head = (
            matrix.to(precision)
            for matrix in (self.embed, self.mix, self.gates, self.fresh, self.old, self.head)
        )
        sampler = self.sampler.to(precision)
        known = {name: value.movedim(0, -1).contiguous() for name, value in state.items()}
        memory = known.pop("memory")
        noise = noise.transpose(1, 2).contiguous()  # [n, noise_size, B]
        one = noise.new_ones(1, n_samples)
        emitted, changes = [], self.noise.changes
        width = self.noise.of_ions(n_samples)
        scale = None if self.scale is None else tiled(self.scale, n_samples)
        for row in self.features:
            row.begin()
        for draw in noise:
            inputs = joined([row.inputs(known) for row in self.features], self.bounds.vectors)
            embedded = functional.silu(embed @ torch.cat([*inputs, one]).to(precision))
            embedded = functional.silu(mix @ torch.cat([embedded, one]).to(precision))
            both = torch.cat([embedded, one, memory]).to(precision)
            reset, keep = torch.sigmoid(gates @ both).view(2, h, n_samples)
            candidate = torch.addcmul(fresh @ both[: h + 1], reset, old @ both[h:])
            memory = torch.lerp(_tanh(candidate).float(), memory, keep.float())
            both = torch.cat([both[: h + 1], memory.to(precision)])
            near = next((row.pairs() for row in self.features if row.pairs is not None), None)
            if self.shared is not None and near is not None:
                shared = self.shared.share(draw[r:].view(r, 3, -1), near)
                draw = torch.cat([draw[:r], shared.view(3 * r, -1)])
            if changes:
                draw[r:] *= width.log_factor(known["displacements"][0], 0).exp()
            residual = sampler.draw(draw, head @ both)
            if self.repulsion is not None and near is not None:
                residual = residual + self.repulsion.residual(near)
            if self.friction is not None:
                residual = residual + self.friction.residual(known["displacements"][0])
            left = residual if scale is None else residual * scale
            past = torch.cat([known["displacements"], left])
            moved = (self.motion @ past.view(len(past), -1)).view(r, 3, -1)
            if self.held is not None:
                moved = self.held.applied(moved, known["displacements"][0])
            seen = moved if self.recoil is None else self.recoil.seen(moved)
            step = Step(moved, seen.sum(0), residual)
            known = {
                name: value
                for row in self.features
                for name, value in row.after(known, step).items()
            }
            emitted.append(seen)
        after = {name: value.movedim(-1, 0) for name, value in known.items()}
        after["memory"] = memory.movedim(-1, 0)
        return torch.cat(emitted).transpose(1, 2), after


def _tanh(values: Tensor) -> Tensor:
    """Hyperbolic tangent to absolute round-off, four times faster than torch's on a CPU."""
    return 2 * torch.sigmoid(2 * values) - 1
