"""The sums of one run by PyTorch, on a GPU: the same numbers as those of `sums.RunSums`."""

from typing import Any

import numpy as np

from mdgan_hpc.analysis.correlation import squared_displacements
from mdgan_hpc.analysis.plan import Plan
from mdgan_hpc.analysis.sums import BIN_WIDTH, N_BINS, RunSums, refuse_wrapped
from mdgan_hpc.errors import UsageError
from mdgan_hpc.parallel import detect_launch

#: Numbers in double precision worked on at once: a gigabyte with all that is made of them.
DEVICE_NUMBERS = 2**24


class DeviceSums(RunSums):
    """As `RunSums`, computed on `plan.config.device`; ranks of a host take its GPUs in turn.

    Raises
    ------
    UsageError
        If PyTorch cannot use the device.
    """

    def __init__(self, n_records: int, plan: Plan, **options: Any) -> None:
        super().__init__(n_records, plan, **options)
        import torch

        self.torch, name = torch, plan.config.device
        try:
            if name == "cuda" and torch.cuda.device_count() > 1:
                name = f"cuda:{detect_launch().local_rank % torch.cuda.device_count()}"
            self.line = torch.tensor(self.ramp, device=name)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UsageError(
                f"PyTorch cannot use the device {name!r}: {reason}",
                remedy="leave --device out to compute on the processor",
            ) from error

    def add(self, positions: np.ndarray, number: int = 0) -> None:
        """Add particles, positions [T, n, 3] in Angstrom, unwrapped; see `RunSums.add`."""
        self._begin_part()
        together = max(1, DEVICE_NUMBERS // (3 * self.length))
        for first in range(0, positions.shape[1], together):
            part = positions[:, first : first + together]
            group = part.transpose(1, 2, 0)  # [n, 3, T]
            if self.inverse_cell is not None:
                refuse_wrapped(group, self.inverse_cell, self.where)
            x = self.torch.from_numpy(np.ascontiguousarray(part)).to(self.line.device)
            x = x.permute(1, 2, 0).to(self.torch.float64).contiguous()
            if not self.torch.isfinite(x).all():
                self._refuse_not_finite(group, number + first)
            self._squared_on_device(x)
            if self.plan.config.full:
                self._full_on_device(x - x.mean(-1, keepdim=True), number + first)

    def _sum(self, name: str, values: Any) -> None:
        self.sums[name] += values.cpu().numpy()

    def _power(self, series: Any, length: int) -> Any:
        return self.torch.fft.rfft(series, n=length).abs().square()

    def _squared_on_device(self, x: Any) -> None:
        travel = x[..., -1] - x[..., 0]
        velocity = travel / max(self.n_records - 1, 1)
        middle = 0.5 * (x[..., -1] + x[..., 0])
        y = x - velocity[..., None] * self.line - middle[..., None]
        powers, squares, trend = self._power(y, self.length), y.square(), y * velocity[..., None]
        self.sums["particles"] += len(x)
        self._sum("first_to_last", travel.sum(0))
        self._sum("first_to_last_squared", travel.square().sum(0))
        self._sum("power", powers.sum(0))
        self._sum("squares", squares.sum(0))
        self._sum("trend", trend.sum(0))
        self._sum("trend_squared", velocity.square().sum(0))
        if self.plan.config.per_particle:
            lags = self.plan.lags
            whole = [v.sum(1).cpu().numpy() for v in (powers, squares, trend, velocity.square())]
            total = squared_displacements(
                whole[0], whole[1], self.length, int(lags[-1]) + 1, whole[2], whole[3]
            )
            self.per_particle.append(total[:, lags] / (self.n_records - lags))

    def _full_on_device(self, x: Any, first: int) -> None:
        torch, stride = self.torch, self.plan.config.stride
        if self._collective:
            for some in self._by_simulation(len(x)):
                self._add_path(x[some].sum(0).cpu().numpy(), some.stop - some.start)
        steps = x[..., stride:] - x[..., :-stride]
        self._sum("velocity_power", self._power(steps, self.velocity_length).sum((0, 1)))
        moments, each = [], []
        for lag, step in zip(self.plan.lags, self.moment_steps, strict=True):
            r2 = (x[..., lag::step] - x[..., : self.n_records - lag : step]).square().sum(1)
            each.append(r2.sum(1))
            moments.append(torch.stack([r2.sum(), r2.square().sum()]))
        second, fourth = torch.stack(moments, dim=1)
        bundles = self._bundles(first, len(x))
        np.add.at(self.sums["bundle_squares"], bundles, torch.stack(each, 1).cpu().numpy())
        self._sum("second", second)
        self._sum("fourth", fourth)
        for index, lag in enumerate(self.plan.histogram_lags):
            step = self.origin_step
            d = (x[..., lag::step] - x[..., : self.n_records - lag : step]) / BIN_WIDTH
            self.sums["tensor"][index] += torch.einsum("nit,njt->ij", d, d).cpu().numpy()
            self.sums["radial"][index] += self._counts(d.square().sum(1).sqrt(), N_BINS)
            for axis in range(3):
                counts = self._counts(d[:, axis] + N_BINS, 2 * N_BINS)
                self.sums["axial"][index, axis] += counts

    def _counts(self, values: Any, n_bins: int) -> np.ndarray:
        index = values.clamp(0, n_bins - 1).to(self.torch.int64).ravel()
        return self.torch.bincount(index, minlength=n_bins).cpu().numpy()
