"""The gated recurrent unit along data, with the gradient that a CPU is quick with.

PyTorch records a dozen small operations for each step of the unit, and its gradient adds up two
matrices a step. Here a step is six operations forwards and four backwards, all else is done once
for all steps, and the gradients of the weights are one product of matrices each.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def recurrent(
    inputs: Tensor, weight: Tensor, memory_weight: Tensor, bias: Tensor, memory_bias: Tensor
) -> Tensor:
    """Return the memories [B, n, h] after each of the inputs [B, n, i], begun at zero.

    As `torch.nn.GRU`: gates reset, keep, new.

    Parameters
    ----------
    inputs : Tensor, [B, n, i]
    weight, memory_weight : Tensor, [3 h, i] and [3 h, h]
    bias, memory_bias : Tensor, [3 h]
    """
    if inputs.device.type != "cpu":
        start = inputs.new_zeros(1, len(inputs), memory_weight.shape[1])
        weights = [weight, memory_weight, bias, memory_bias]
        memory, _ = torch.gru(inputs, start, weights, True, 1, 0.0, False, False, True)
        return memory
    given = functional.linear(inputs.transpose(0, 1), weight, bias)
    steps: Tensor = _Recurrent.apply(given, memory_weight, memory_bias)  # type: ignore[no-untyped-call]
    return steps.transpose(0, 1)


class _Recurrent(torch.autograd.Function):
    """Memories [n, B, h] for what the gates get from the inputs [n, B, 3 h].

    With gates r, z and candidate c of a step,

        c = tanh(x_c + r m_c),  h' = c + z (h - c),

    x what comes of the inputs and m of the memory.
    """

    @staticmethod
    def forward(ctx: Any, given: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        n, batch, h = len(given), given.shape[1], weight.shape[1]
        memory = given.new_zeros(n + 1, batch, h)
        told = given.new_empty(n, batch, 3 * h)
        gates, new = given.new_empty(n, batch, 2 * h), given.new_empty(n, batch, h)
        across = weight.mT
        for before, after, x, m, both, c in zip(
            memory[:-1], memory[1:], given, told, gates, new, strict=True
        ):
            torch.addmm(bias, before, across, out=m)
            torch.add(x[:, : 2 * h], m[:, : 2 * h], out=both).sigmoid_()
            torch.addcmul(x[:, 2 * h :], both[:, :h], m[:, 2 * h :], out=c).tanh_()
            torch.lerp(c, before, both[:, h:], out=after)
        ctx.save_for_backward(memory, gates, new, told, weight)
        return memory[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        memory, gates, new, told, weight = ctx.saved_tensors
        n, batch, h = new.shape
        reset, keep = gates.split(h, -1)
        # What a gradient by a memory is times that by each gate, as far as the memory tells it.
        share = told.new_empty(n, batch, 3, h)
        by_new = (1 - keep) * (1 - new * new)
        torch.mul(by_new, reset, out=share[:, :, 2])
        torch.mul(share[:, :, 2], told[..., 2 * h :], out=share[:, :, 0]).mul_(1 - reset)
        torch.mul(memory[:-1] - new, keep, out=share[:, :, 1]).mul_(1 - keep)
        whole = torch.empty_like(new)
        by_told = share.view(n, batch, 3 * h)
        back = new.new_zeros(batch, h)
        for t in range(n - 1, -1, -1):
            torch.add(gradient[t], back, out=whole[t])
            share[t].mul_(whole[t][:, None])
            torch.addmm(whole[t] * keep[t], by_told[t], weight, out=back)
        by_weight = by_told.flatten(0, 1).mT @ memory[:-1].flatten(0, 1)
        by_bias = by_told.sum((0, 1))
        by_given = by_told.clone()
        torch.mul(whole, by_new, out=by_given[..., 2 * h :])
        return by_given, by_weight, by_bias
