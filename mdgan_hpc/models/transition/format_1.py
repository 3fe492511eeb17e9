"""Model files of the first format: their names, and the constants that the code held then."""

from typing import Any

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
_NEIGHBOURS: dict[str, Any] = {
    "neighbours": "on",
    "neighbour_radii": [2.5, 3.5, 4.5, 5.5, 6.5],
    "neighbour_width": 0.6,
    "neighbour_cutoff": 7.5,
}
_KEPT = ("extrapolation", "scales", "rotations", "translations", "primitive", "particles")
_WEIGHTS = {
    "extrapolation": "extrapolation",
    "modes": "whitening",
    "inverse_modes": "inverse_whitening",
    "reach": "mean_bounds",
    "log_noise": "network.log_noise",
    "rotations": "network.rotations",
    "_product": "network.quotient",
    "_input_action": "network.action",
    "scales": "features.rows.displacements.scales",
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
    config = TransitionConfig(
        hidden=arguments["hidden"],
        records_per_step=len(arguments["extrapolation"]),
        head=arguments.get("head", 64),
        components=arguments["components"],
        **({"neighbours": "off"} if arguments.get("box") is None else _NEIGHBOURS),
        ema_records=[len(arguments["extrapolation"]) * t for t in arguments["relaxations"]],
        ema_history=1.5,
        history_records=96,
        start_states=arguments.get("pool", 2048),
        reciprocal_vectors=arguments.get("reciprocal_vectors", 60),
        directions=2,
        vector_bound=6.0,
        direction_bound=0.9,
        log_width_least=-6.0,
        log_width_most=0.0,
        activity_floor=0.1,
    )
    renamed = {}
    for name, value in weights.items():
        if name.startswith("pool_") and name not in _WEIGHTS:
            renamed["start_" + name.removeprefix("pool_")] = value
        else:
            renamed[_WEIGHTS.get(name, f"network.{name}")] = value
    if "seen" in weights:
        renamed["features.rows.neighbours.cell"] = weights["cell"]
    return config, new, renamed
