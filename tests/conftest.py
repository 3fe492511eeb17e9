"""What all tests share: one thread of arithmetic a process, so that bits are comparable."""

import os

# Before NumPy and PyTorch are loaded, and inherited by every command that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
