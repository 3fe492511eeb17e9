"""The Python face: everything a script or a notebook needs, each name from the room it lives in.

``import mdgan_hpc`` gives the same names. A room is loaded when a name of it is first used, so that
a script that reads a trajectory loads no PyTorch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdgan_hpc.analysis.diffusion import diffusion
    from mdgan_hpc.analysis.dynamics import dynamics
    from mdgan_hpc.analysis.fidelity import Fidelity
    from mdgan_hpc.analysis.mixture import onsager
    from mdgan_hpc.analysis.sites.measure import jumps
    from mdgan_hpc.convert import convert
    from mdgan_hpc.generate.run import generate
    from mdgan_hpc.models.file import load_model
    from mdgan_hpc.training.data.dataset import Dataset
    from mdgan_hpc.training.ensemble import train_ensemble
    from mdgan_hpc.training.run import train
    from mdgan_hpc.trajectory import Trajectory

__all__ = [
    "Dataset",
    "Fidelity",
    "Trajectory",
    "convert",
    "diffusion",
    "dynamics",
    "generate",
    "jumps",
    "load_model",
    "onsager",
    "train",
    "train_ensemble",
]

_HOMES = {
    "Dataset": "mdgan_hpc.training.data.dataset",
    "Fidelity": "mdgan_hpc.analysis.fidelity",
    "Trajectory": "mdgan_hpc.trajectory",
    "convert": "mdgan_hpc.convert",
    "diffusion": "mdgan_hpc.analysis.diffusion",
    "dynamics": "mdgan_hpc.analysis.dynamics",
    "generate": "mdgan_hpc.generate.run",
    "jumps": "mdgan_hpc.analysis.sites.measure",
    "load_model": "mdgan_hpc.models.file",
    "onsager": "mdgan_hpc.analysis.mixture",
    "train": "mdgan_hpc.training.run",
    "train_ensemble": "mdgan_hpc.training.ensemble",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
