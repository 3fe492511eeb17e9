import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
# The package of the generator that the tests use.
sys.path.insert(0, str(Path(__file__).parents[1] / "support/plugin"))
# As in mdgan-generate; more threads wait for each other where cores are shared.
torch.set_num_threads(1)
