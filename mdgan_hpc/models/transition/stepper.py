"""Free runs of a transition density, laid out for speed.

The network of `network` step by step, with samples in columns: operations on
vectors and gates then run over contiguous rows. Biases are columns of the matrices, and the
Gaussian is chosen before its mean and directions are bounded, so that those of one are.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mdgan_hpc.models.neighbours import look_around

#: Vector inputs, and means of the mixture, saturate at this many standard deviations; widths and
#: directions at what rare data need. Away from all data the network can then not heat up an ion.
SATURATION = 6.0
DIRECTION = 0.9
LOG_WIDTH = (-6.0, 0.0)
#: Stretched directions of each Gaussian.
DIRECTIONS = 2
#: Added to an activity (mean 1) before its logarithm is taken.
QUIET = 0.1


def saturated(vectors: Tensor, limit: float | Tensor, dim: int = -1) -> Tensor:
    """Shorten vectors along `dim` smoothly to less than `limit`; short ones stay as they are."""
    length = vectors.square().sum(dim, keepdim=True).add(1e-8).sqrt()
    return vectors * (torch.tanh(length / limit) * limit / length)


@dataclass(frozen=True)
class Sight:
    """How ions of one simulation see each other.

    Attributes
    ----------
    particles : int
        k, in a simulation.
    cell, images : Tensor
        As in `look_around`.
    mean, scale : Tensor, [A, 4]
        Of what is seen.
    """

    particles: int
    cell: Tensor
    images: Tensor
    mean: Tensor
    scale: Tensor

    def look(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors [A, 3, B] and numbers [A, B] that ions at places [3, B] see, scaled."""
        seen = look_around(place.unflatten(1, (-1, self.particles)), self.cell, self.images)
        seen = (seen.flatten(2) - self.mean[..., None]) / self.scale[..., None]
        return seen[:, :3], seen[:, 3]


@dataclass(frozen=True)
class Stepper:
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
        For embedding, one and memory; e units for each mode.
    earlier : list of Tensor, [e, 3 m]
        For the m slower modes.
    out : list of Tensor, [K (2 + 3 (1 + d)), e + 1]
        Mixture of each mode.
    differences : Tensor, [v, p]
        Of the last displacements, scaled, that the network sees.
    motion : Tensor, [r, p + r]
        Next displacements from the last ones and the residual.
    ahead : Tensor, [1, p]
        Displacement over a step, extrapolated from the last ones.
    place : (Tensor [w, 3], Tensor [3, 3]) or None
        Reciprocal vectors, and from Angstrom to fractions of the cell.
    sight : Sight or None
        Where ions see each other: then all those of a simulation are neighbouring columns.
    reach : list of float, [r]
        How far the mixture of each mode may reach.
    keep : Tensor, [k, 1]
        What a step leaves of each trace.
    trace_scales : Tensor, [k, 1, 1]
        Angstrom.
    components : int
    """

    embed: Tensor
    mix: Tensor
    gates: Tensor
    fresh: Tensor
    old: Tensor
    head: Tensor
    earlier: list[Tensor]
    out: list[Tensor]
    differences: Tensor
    motion: Tensor
    ahead: Tensor
    place: tuple[Tensor, Tensor] | None
    sight: Sight | None
    reach: list[float]
    keep: Tensor
    trace_scales: Tensor
    components: int

    @classmethod
    def of(
        cls,
        weights: dict[str, Tensor],
        differences: Tensor,
        motion: Tensor,
        ahead: Tensor,
        place: tuple[Tensor, Tensor] | None,
        sight: Sight | None,
        reach: list[float],
        keep: Tensor,
        trace_scales: Tensor,
        components: int,
    ) -> "Stepper":
        """Put the dense weights of a generator together."""
        h = len(weights["embed"])

        def column(name: str) -> Tensor:
            return weights[f"{name}_bias"][:, None]

        new, memory = weights["gates_input"], weights["gates_memory"]
        new_bias, memory_bias = column("gates_input"), column("gates_memory")
        both, last = slice(0, 2 * h), slice(2 * h, None)
        return cls(
            embed=torch.cat([weights["embed"], column("embed")], 1),
            mix=torch.cat([weights["mix"], column("mix")], 1),
            gates=torch.cat([new[both], (new_bias + memory_bias)[both], memory[both]], 1),
            fresh=torch.cat([new[last], new_bias[last]], 1),
            old=torch.cat([memory_bias[last], memory[last]], 1),
            head=torch.cat([weights["head"][:, h:], column("head"), weights["head"][:, :h]], 1),
            earlier=[w[:, : 3 * mode] for mode, w in enumerate(weights["earlier"])],
            out=list(torch.cat([weights["out"], weights["out_bias"][..., None]], 2)),
            differences=differences,
            motion=motion,
            ahead=ahead,
            place=place,
            sight=sight,
            reach=reach,
            keep=keep,
            trace_scales=trace_scales,
            components=components,
        )

    def run(self, state: dict[str, Tensor], noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Take one step for each row of `noise` [n, B, 4 r]; see `TransitionGenerator.advance`.

        Under autocast the network runs in the lower precision; displacements, places and their
        phases always in single.
        """
        device = noise.device.type
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        with torch.autocast(device, enabled=False):
            return self._run(state, noise, low or torch.float32)

    def _run(
        self, state: dict[str, Tensor], noise: Tensor, precision: torch.dtype
    ) -> tuple[Tensor, dict[str, Tensor]]:
        n_samples, h = noise.shape[1], len(self.fresh)
        r, p = len(self.motion), self.differences.shape[1]
        embed, mix, gates, fresh, old, head = (
            matrix.to(precision)
            for matrix in (self.embed, self.mix, self.gates, self.fresh, self.old, self.head)
        )
        earlier = [matrix.to(precision) for matrix in self.earlier]
        out = [matrix.to(precision) for matrix in self.out]
        # The last displacements, newest first, and the residual [p + r, 3, B].
        past = torch.cat([state["displacements"], state["residual"]], 1).permute(1, 2, 0)
        memory = state["memory"].T
        place = state["place"].T if "place" in state else None
        trace, activity = state["trace"].permute(1, 2, 0), state["activity"].T
        shrink, keep_trace = 1 / self.trace_scales, self.keep[:, None]
        noise = noise.transpose(1, 2).contiguous()  # [n, noise_size, B]
        one = noise.new_ones(1, n_samples)
        emitted = []
        for draw in noise:
            flat = past.reshape(p + r, -1)
            seen = torch.cat([self.differences @ flat[:p], flat[p:]]).view(-1, 3, n_samples)
            seen = torch.cat([seen, trace * shrink])
            numbers = []
            if place is not None and self.sight is not None:
                vectors, number = self.sight.look(place)
                seen, numbers = torch.cat([seen, vectors]), [number]
            inputs = [saturated(seen, SATURATION, 1).view(-1, n_samples)]
            if place is not None and self.place is not None:
                ahead = (self.ahead @ flat[:p]).view(3, -1)
                phase = self.place[0] @ torch.addmm(place, self.place[1], ahead)
                inputs += [phase.cos(), phase.sin()]
            inputs += [(activity + QUIET).log(), *numbers]
            embedded = functional.silu(embed @ torch.cat([*inputs, one]).to(precision))
            embedded = functional.silu(mix @ torch.cat([embedded, one]).to(precision))
            known = torch.cat([embedded, one, memory]).to(precision)
            reset, keep = torch.sigmoid(gates @ known).view(2, h, n_samples)
            candidate = torch.addcmul(fresh @ known[: h + 1], reset, old @ known[h:])
            memory = torch.lerp(_tanh(candidate).float(), memory, keep.float())
            known = torch.cat([known[: h + 1], memory.to(precision)])
            residual = sample(draw, head @ known, earlier, out, self.reach, self.components)
            moved = (self.motion @ torch.cat([past[:p], residual]).view(p + r, -1)).view(r, 3, -1)
            past = torch.cat([moved.flip(0), past[: p - r], residual])
            if place is not None and self.place is not None:
                place = torch.addmm(place, self.place[1], moved.sum(0))
                place = place - place.floor()
            trace = (trace + moved.sum(0)) * keep_trace
            squared = (trace[:1] * shrink[:1]).square().sum(1) / 3
            activity = torch.lerp(squared, activity, self.keep)
            emitted.append(moved)
        last = past.permute(2, 0, 1)
        after = {"displacements": last[:, :p], "residual": last[:, p:], "memory": memory.T}
        after |= {"trace": trace.permute(2, 0, 1), "activity": activity.T}
        if place is not None:
            after["place"] = place.T
        return torch.cat(emitted).transpose(1, 2), after


def _tanh(values: Tensor) -> Tensor:
    """Hyperbolic tangent to absolute round-off, four times faster than torch's on a CPU."""
    return 2 * torch.sigmoid(2 * values) - 1


def sample(
    draw: Tensor,
    heads: Tensor,
    earlier: list[Tensor],
    out: list[Tensor],
    reach: list[float],
    components: int,
) -> Tensor:
    """Draw the residual of a step mode by mode, each from its mixture given the slower ones.

    Parameters
    ----------
    draw : Tensor, [4 r, B]
        Standard normal numbers: r choose the Gaussians, r by 3 spread them.
    heads : Tensor, [r e, B]
        What the head of each mode gets from the past.
    earlier, out, reach : list
        As in `Stepper`.
    components : int
        K.

    Returns
    -------
    Tensor, [r, 3, B]
        In units of the modes.
    """
    k, r, n = components, len(out), draw.shape[1]
    uniform = 0.5 * torch.erfc(draw[:r] * -math.sqrt(0.5))
    normal = draw[r:].view(r, 3, n)
    heads = heads.view(r, -1, n)
    one = heads.new_ones(1, n)
    limits = draw.new_tensor([[SATURATION * far] + [DIRECTION] * DIRECTIONS for far in reach])
    widest = [LOG_WIDTH[1] + math.log(far) for far in reach]
    modes: list[Tensor] = []
    seen = heads.new_empty(0, n)
    for mode in range(r):
        inner = functional.silu(torch.addmm(heads[mode], earlier[mode], seen))
        given = (out[mode] @ torch.cat([inner, one])).float()
        chosen = (given[:k].softmax(0).cumsum(0)[:-1] < uniform[mode]).sum(0)
        width = given[k : 2 * k].gather(0, chosen[None])
        width = width.clamp(LOG_WIDTH[0], widest[mode]).exp()
        vectors = given[2 * k :].view(k, -1, n).gather(0, chosen.expand(1, 3 * (1 + DIRECTIONS), n))
        mean, *directions = saturated(
            vectors.view(1 + DIRECTIONS, 3, n), limits[mode, :, None, None], 1
        ).unbind()
        step = normal[mode]
        for direction in directions:
            step = torch.addcmul(step, direction, (direction * step).sum(0))
        modes.append(torch.addcmul(mean, width, step))
        seen = torch.cat([seen, saturated(modes[-1], SATURATION, 0).to(seen.dtype)])
    return torch.stack(modes)
