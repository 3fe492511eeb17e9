"""Long-time ion trajectories and a diffusion coefficient from a few short ab initio MD runs.

::

    import mdgan_hpc

    mdgan_hpc.convert("run1", "run1.h5", select="Li")
    mdgan_hpc.train({"data": {"step_skip": 2}}, ["run1.h5", "run2.h5"], "runs/li")
    mdgan_hpc.generate("runs/li", "generated.h5", particles=1024, records=5000)
    mdgan_hpc.diffusion("generated.h5")

The names are those of `mdgan_hpc.api`, loaded when first used.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mdgan_hpc.api import (
        Dataset,
        Fidelity,
        Trajectory,
        convert,
        diffusion,
        dynamics,
        generate,
        jumps,
        load_model,
        onsager,
        train,
        train_ensemble,
    )

__version__ = "0.2.0"

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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class CallableRoom(ModuleType):
    """A room that is called as its verb: ``mdgan_hpc.generate(...)``.

    Once a package is loaded, Python binds its name in its parent; `convert` and `generate` are
    names of rooms and of functions. So these two rooms answer the call themselves.
    """

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        verb = getattr(import_module("mdgan_hpc.api"), self.__name__.rpartition(".")[2])
        return verb(*arguments, **named)
