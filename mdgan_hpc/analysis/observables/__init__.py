"""What is measured of moving ions, each observable in one module: formula, normalisation, bins.

========================  ==============================================================
`msd`                     mean squared displacement, its log-log slope, the drift
`moments`                 fourth moment and non-Gaussian parameter, blocks of cells
`van_hove`                self van Hove functions
`velocities`              velocity autocorrelation function and its spectrum
`collective`              motion of all ions of a cell together
========================  ==============================================================

An observable has sums over particles and origins of one run, which `run.RunSums` fills block by
block (by NumPy, or by PyTorch on a device: `arrays`), and a function that turns the sums of the
runs into a result. `multitau` fills such sums while a trajectory is generated. On small arrays
`displacements.displacements` and the functions named after the observables are enough.
"""
