"""Old place of `observables.fourier`."""

from mdgan_hpc.analysis.observables.fourier import Scratch, padded_length, power

__all__ = ["Scratch", "padded_length", "power"]
