"""Optimisers of PyTorch that do not load its compiler, which takes seconds and is not used here.

Some of their methods are wrapped for programs that are compiled; taken here is what is wrapped.
"""

from inspect import unwrap

import torch


class _NotCompiled:
    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = unwrap(torch.optim.Optimizer.load_state_dict)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))  # that of AdamW as well


class Adam(_NotCompiled, torch.optim.Adam):
    """D. P. Kingma, J. Ba, ICLR (2015)."""


class AdamW(_NotCompiled, torch.optim.AdamW):
    """I. Loshchilov, F. Hutter, ICLR (2019)."""
