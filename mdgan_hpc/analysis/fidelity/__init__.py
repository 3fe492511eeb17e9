"""How far generated motion is from MD, in units of how far MD runs are from each other.

For each observable the distance from the generated ions, all together, to the pool of all MD runs
is divided by the distance another MD run would have. That is estimated from the replicas, each
against the pool of the others, or from runs drawn from the ions of the pool, whichever is larger: a
few replicas may agree by chance. One more MD run scores about 1. Many generated ions average their
own noise out; what remains is how far the model is off, and the noise of the pool: a perfect
generator scores about (1 + R)^(-1/2) with R runs, one half with three.

Beside it stands the same for generated ions in groups *the size of an MD run*. There a perfect
generator scores about 1, and one whose runs differ more from each other than MD runs do more.
"""

from mdgan_hpc.analysis.fidelity.reference import Fidelity
from mdgan_hpc.analysis.fidelity.result import FidelityResult

__all__ = ["Fidelity", "FidelityResult"]
