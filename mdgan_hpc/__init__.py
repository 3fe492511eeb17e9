"""Long-time ion trajectories and a diffusion coefficient from a few short ab initio MD runs."""

__version__ = "0.2.0"
