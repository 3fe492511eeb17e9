"""Model files of the first format: their names, and the constants that the code held then."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mdgan_hpc.models.transition.config import TransitionConfig

_ARGUMENTS = {
    "modes": "whitening",
    "reach": "mean_bounds",
    "relaxations": "ema_steps",
    "trace_scales": "ema_scales",
    "box": "cell",
    "seen": "neighbour_scales",
}
_SHELLS = {"radii": [2.5, 3.5, 4.5, 5.5, 6.5], "widths": [0.6] * 5, "cutoff": 7.5}
_KEPT = ("extrapolation", "rotations", "translations", "primitive", "particles")
_WEIGHTS = {
    "extrapolation": "extrapolation",
    "modes": "whitening",
    "inverse_modes": "inverse_whitening",
    "reach": "mean_bounds",
    "log_noise": "network.log_noise",
    "rotations": "network.rotations",
    "_product": "network.quotient",
    "_input_action": "network.action",
    "keep": "features.rows.averages.keep",
    "trace_scales": "features.rows.averages.scales",
    "cell": "features.rows.place.cell",
    "inverse_cell": "features.rows.place.inverse_cell",
    "waves": "features.rows.place.waves",
    "images": "features.rows.neighbours.images",
    "seen": "features.rows.neighbours.scales",
    "pool_trace": "start_ema_offset",
    "pool_activity": "start_ema_activity",
}


def upgrade(
    arguments: dict[str, Any], weights: dict[str, Tensor]
) -> tuple[TransitionConfig, dict[str, Any], dict[str, Tensor]]:
    """Return configuration, arguments and weights as they are now."""
    new = {_ARGUMENTS[name]: arguments[name] for name in _ARGUMENTS if name in arguments}
    new |= {name: arguments[name] for name in _KEPT if name in arguments}
    r, p = np.shape(arguments["extrapolation"])
    scales = np.asarray(arguments["scales"], np.float32)
    new["combinations"] = _combinations(scales, r, p).tolist()
    new["one_record"] = float(scales[3 if r > 1 else 0])
    new["one_record_alpha2"] = None
    if arguments.get("box") is not None:
        new["neighbour_shells"] = _SHELLS
    config = TransitionConfig(
        hidden=arguments["hidden"],
        records_per_step=r,
        head=arguments.get("head", 64),
        components=arguments["components"],
        neighbours="off" if arguments.get("box") is None else "on",
        ema_records=[r * t for t in arguments["relaxations"]],
        ema_history=1.5,
        history_records=96,
        start_states=arguments.get("pool", 2048),
        reciprocal_vectors=arguments.get("reciprocal_vectors", 60),
        directions=2,
        vector_bound=6.0,
        mean_bound=6.0,
        mean_stretch=0.0,
        direction_bound=0.9,
        log_width_least=-6.0,
        log_width_most=0.0,
        activity_floor=0.1,
    )
    renamed = {"network.noise_slope": torch.tensor(0.0)}
    for name, value in weights.items():
        if name == "scales":
            continue  # now in the combinations
        if name.startswith("pool_") and name not in _WEIGHTS:
            renamed["start_" + name.removeprefix("pool_")] = value
        else:
            renamed[_WEIGHTS.get(name, f"network.{name}")] = value
    if "seen" in weights:
        renamed["features.rows.neighbours.cell"] = weights["cell"]
    renamed["features.rows.displacements.combinations"] = torch.tensor(new["combinations"])
    return config, new, renamed


def _combinations(scales: np.ndarray, r: int, p: int) -> np.ndarray:
    """Return the combinations [v, p] of displacements that such a network sees.

    The displacement over a step of r records, its first and second difference, and, where r is
    above one, the displacement of one record; over their standard deviations.
    """
    ones = np.ones(r)
    rows = [[ones], [ones, -ones], [ones, -2 * ones, ones]] + ([[[1.0]]] if r > 1 else [])
    combinations = np.zeros((len(rows), p), np.float32)
    for row, parts, scale in zip(combinations, rows, scales, strict=False):
        whole = np.concatenate(parts)
        row[: len(whole)] = np.float32(whole) / scale
    return combinations
