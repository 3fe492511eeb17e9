"""Free runs of a transition density, laid out for speed.

The network of `mdgan_hpc.gan.transition` step by step, with samples in columns: operations on
vectors and gates then run over contiguous rows. Biases are columns of the matrices, and the
Gaussian is chosen before its mean and directions are formed, so that those of one are formed.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: Vector inputs, and means of the mixture, saturate at this many standard deviations; widths and
#: directions at what rare data need. Away from all data the network can then not heat up an ion.
SATURATION = 6.0
DIRECTION = 2.5
LOG_WIDTH = (-6.0, 1.0)


def saturated(vectors: Tensor, limit: float, dim: int = -1) -> Tensor:
    """Shorten vectors along `dim` smoothly to less than `limit`; short ones stay as they are."""
    length = vectors.square().sum(dim, keepdim=True).add(1e-8).sqrt()
    return vectors * (torch.tanh(length / limit) * limit / length)


@dataclass(frozen=True)
class Stepper:
    """The matrices of a free run, each for the rows that its step puts together.

    Attributes
    ----------
    embed : Tensor, [h, inputs + 1]
        For the inputs and one.
    gates : Tensor, [2 h, 2 h + 1]
        Reset and keep gates, for embedding, one and memory.
    fresh, old : Tensor, [h, h + 1]
        Candidate, for embedding and one; and for one and memory.
    head : Tensor, [h, 2 h + 1]
        For embedding, one and memory.
    out : Tensor, [K (1 + r) + 3 K (1 + d) r, h + 1]
    differences : Tensor, [v, p]
        Of the last displacements, scaled, that the network sees.
    motion : Tensor, [r, p + r]
        Next displacements from the last ones and the residual.
    place : (Tensor [w, 3], Tensor [3, 3]) or None
        Reciprocal vectors, and from Angstrom to the primitive cell.
    components : int
    """

    embed: Tensor
    gates: Tensor
    fresh: Tensor
    old: Tensor
    head: Tensor
    out: Tensor
    differences: Tensor
    motion: Tensor
    place: tuple[Tensor, Tensor] | None
    components: int

    @classmethod
    def of(
        cls,
        weights: dict[str, Tensor],
        differences: Tensor,
        motion: Tensor,
        place: tuple[Tensor, Tensor] | None,
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
            gates=torch.cat([new[both], (new_bias + memory_bias)[both], memory[both]], 1),
            fresh=torch.cat([new[last], new_bias[last]], 1),
            old=torch.cat([memory_bias[last], memory[last]], 1),
            head=torch.cat([weights["head"][:, h:], column("head"), weights["head"][:, :h]], 1),
            out=torch.cat([weights["out"], column("out")], 1),
            differences=differences,
            motion=motion,
            place=place,
            components=components,
        )

    def run(self, state: dict[str, Tensor], noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Take one step for each row of `noise`; see `TransitionGenerator.advance`.

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
        embed, gates, fresh, old, head, out = (
            matrix.to(precision)
            for matrix in (self.embed, self.gates, self.fresh, self.old, self.head, self.out)
        )
        # The last displacements, newest first, and the residual [p + r, 3, B].
        past = torch.cat([state["displacements"], state["residual"]], 1).permute(1, 2, 0)
        memory = state["memory"].T
        place = state["place"].T if "place" in state else None
        noise = noise.transpose(1, 2).contiguous()  # [n, noise_size, B]
        one = noise.new_ones(1, n_samples)
        emitted = []
        for draw in noise:
            flat = past.reshape(p + r, -1)
            seen = torch.cat([self.differences @ flat[:p], flat[p : p + 1]])
            inputs = [saturated(seen.view(-1, 3, n_samples), SATURATION, 1).view(-1, n_samples)]
            if place is not None and self.place is not None:
                phase = self.place[0] @ place
                inputs += [phase.cos(), phase.sin()]
            embedded = functional.silu(embed @ torch.cat([*inputs, one]).to(precision))
            known = torch.cat([embedded, one, memory]).to(precision)
            reset, keep = torch.sigmoid(gates @ known).view(2, h, n_samples)
            candidate = torch.addcmul(fresh @ known[: h + 1], reset, old @ known[h:])
            memory = torch.lerp(_tanh(candidate).float(), memory, keep.float())
            known = torch.cat([known[: h + 1], memory.to(precision)])
            inner = torch.cat([functional.silu(head @ known), one.to(precision)])
            residual = sample(draw, (out @ inner).float(), self.components, r)
            moved = (self.motion @ torch.cat([past[:p], residual]).view(p + r, -1)).view(r, 3, -1)
            past = torch.cat([moved.flip(0), past[: p - r], residual])
            if place is not None and self.place is not None:
                place = torch.addmm(place, self.place[1], moved.sum(0))
                place = place - place.floor()
            emitted.append(moved)
        last = past.permute(2, 0, 1)
        after = {"displacements": last[:, :p], "residual": last[:, p:], "memory": memory.T}
        if place is not None:
            after["place"] = place.T
        return torch.cat(emitted).transpose(1, 2)[:, :, None], after


def _tanh(values: Tensor) -> Tensor:
    """Hyperbolic tangent to absolute round-off, four times faster than torch's on a CPU."""
    return 2 * torch.sigmoid(2 * values) - 1


def sample(draw: Tensor, out: Tensor, components: int, records: int) -> Tensor:
    """Draw the residual of a step from the mixture that the network gave.

    Parameters
    ----------
    draw : Tensor, [1 + 3 r + d, B]
        Standard normal numbers: one chooses the Gaussian, r by 3 and d spread it.
    out : Tensor, [K (1 + r) + 3 K (1 + d) r, B]
        Logits, log widths, and means and directions, not yet bounded.
    components, records : int
        K and r.

    Returns
    -------
    Tensor, [r, 3, B]
        In units of the modes.
    """
    k, r, n = components, records, out.shape[1]
    uniform = 0.5 * torch.erfc(draw[0] * -math.sqrt(0.5))
    chosen = (out[:k].softmax(0).cumsum(0)[:-1] < uniform).sum(0)

    def of_chosen(rows: Tensor) -> Tensor:
        rows = rows.view(k, -1, n)
        return rows.gather(0, chosen.expand(1, rows.shape[1], n))[0]

    width = of_chosen(out[k : k * (1 + r)]).clamp(*LOG_WIDTH).exp()[:, None]
    vectors = of_chosen(out[k * (1 + r) :]).view(-1, r, 3, n)
    spread = draw[1 : 1 + 3 * r].view(r, 3, n)
    along = draw[1 + 3 * r :, None, None]
    for direction, amount in zip(saturated(vectors[1:], DIRECTION, 2), along, strict=True):
        spread = torch.addcmul(spread, direction, amount)
    return torch.addcmul(saturated(vectors[0], SATURATION, 1), width, spread)
