"""The recurrent unit against PyTorch's, values and gradients, and against finite differences."""

import torch

from mdgan_hpc.models.transition.recurrence import recurrent


def problem(kind: torch.dtype) -> list[torch.Tensor]:
    """Inputs [3, 7, 5], and weights and biases for four units."""
    random = torch.Generator().manual_seed(0)
    shapes = ((3, 7, 5), (12, 5), (12, 4), (12,), (12,))
    return [
        torch.randn(shape, generator=random, dtype=kind).mul_(0.7).requires_grad_()
        for shape in shapes
    ]


def test_it_is_the_unit_of_pytorch():
    inputs, *weights = problem(torch.float64)
    oracle, _ = torch.gru(
        inputs, inputs.new_zeros(1, 3, 4), weights, True, 1, 0.0, False, False, True
    )
    found = recurrent(inputs, *weights)
    torch.testing.assert_close(found, oracle)
    weight = torch.randn(found.shape, dtype=found.dtype)
    expected = torch.autograd.grad((oracle * weight).sum(), [inputs, *weights])
    gradients = torch.autograd.grad((found * weight).sum(), [inputs, *weights])
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_its_gradient_is_that_of_finite_differences():
    assert torch.autograd.gradcheck(recurrent, problem(torch.float64), fast_mode=True)
