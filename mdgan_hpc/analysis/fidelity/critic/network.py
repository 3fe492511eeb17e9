"""The critic: a small network that tells two classes of windows apart."""

from collections.abc import Callable
from typing import Any

import numpy as np

#: Channels of the convolutions, and share of the units that are dropped in training.
_WIDTH, _DROPPED = 16, 0.2
#: Optimiser (AdamW) and batches; half of a batch is of each class.
_RATE, _DECAY, _BATCH = 3e-3, 0.05, 256
#: Steps at most; steps between two looks at the windows kept back; looks without progress that end
#: the training.
_STEPS, _LOOK, _PATIENCE = 400, 20, 5

Scores = Callable[[np.ndarray], np.ndarray]


def train_critic(rows: np.ndarray, label: np.ndarray, kept: np.ndarray, seed: int) -> Scores:
    """Train a critic and return what it says of windows: above zero, more like class one.

    Convolutions along the time, then means over it: a long window is judged by what happens in
    it, not by when. The means of the input are seen as well. The weights are those with the lowest
    loss on windows that were kept back.

    Parameters
    ----------
    rows : array, [n, C, R]
    label : array of bool, [n]
        The class.
    kept : array of bool, [n]
        Windows kept back, of both classes.
    seed : int
    """
    import torch

    from mdgan_hpc.optimisers import AdamW

    mean = rows[~kept].mean((0, 2), keepdims=True)
    scale = np.maximum(rows[~kept].std((0, 2), keepdims=True), 1e-6)

    def as_input(some: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(((some - mean) / scale).clip(-8, 8).astype(np.float32))

    rng = np.random.default_rng(seed)
    x, y = as_input(rows), torch.from_numpy(label.astype(np.float32))
    classes = [np.flatnonzero(~kept & (label == which)) for which in (False, True)]
    held = [torch.from_numpy(np.flatnonzero(kept & (label == which))) for which in (False, True)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(rows.shape[1])
        optimizer = AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
        loss_of = torch.nn.functional.binary_cross_entropy_with_logits
        best, state, without = float("inf"), network.state_dict(), 0
        for step in range(_STEPS):
            chosen = np.concatenate([rng.choice(c, _BATCH // 2) for c in classes])
            loss = loss_of(network(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if (step + 1) % _LOOK == 0:
                network.eval()
                with torch.no_grad():
                    now = sum(float(loss_of(network(x[h]), y[h])) for h in held)
                network.train()
                without += 1
                if now < best:
                    best, without = now, 0
                    state = {k: v.clone() for k, v in network.state_dict().items()}
                if without == _PATIENCE:
                    break
    network.load_state_dict(state)
    network.eval()

    def scores(some: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            parts = [network(as_input(some[i : i + 4096])) for i in range(0, len(some), 4096)]
        return np.asarray(torch.cat(parts).double().numpy())

    return scores


def _network(channels: int) -> Any:
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Sequential(
                nn.Conv1d(channels, _WIDTH, 3, padding=1),
                nn.GELU(),
                nn.Conv1d(_WIDTH, _WIDTH, 3, stride=2, padding=1),
                nn.GELU(),
            )
            self.judge = nn.Sequential(
                nn.Dropout(_DROPPED),
                nn.Linear(_WIDTH + channels, _WIDTH),
                nn.GELU(),
                nn.Linear(_WIDTH, 1),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen = torch.cat([self.rows(x).mean(2), x.mean(2)], 1)
            judged: torch.Tensor = self.judge(seen)
            return judged.flatten()

    return Network()
