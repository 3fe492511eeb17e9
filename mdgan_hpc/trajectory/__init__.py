"""The H5MD trajectory file: the only code that knows where things lie in it."""

from mdgan_hpc.trajectory.framework import Framework
from mdgan_hpc.trajectory.reader import Trajectory
from mdgan_hpc.trajectory.writer import TrajectoryWriter

__all__ = ["Framework", "Trajectory", "TrajectoryWriter"]
