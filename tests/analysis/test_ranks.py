"""The same result on any number of MPI ranks, also with more ranks than work."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mdgan_hpc.results import load_results
from tests.support.motion import brownian, dragging, write

MPIEXEC = Path(sys.executable).with_name("mpiexec")


@pytest.mark.skipif(
    not MPIEXEC.exists() and not shutil.which("mpiexec"), reason="no MPI in this environment"
)
@pytest.mark.parametrize("kind", ["simulated", "generated"])
def test_result_does_not_depend_on_the_number_of_ranks(tmp_path, rng, kind):
    if kind == "simulated":
        files = [write(tmp_path / f"{k}.h5", brownian(300, 3, rng)) for k in (1, 2)]
    else:
        cells = {"simulated_together": 3}
        files = [
            write(tmp_path / f"{k}.h5", dragging(300, n, 3, rng), parameters=cells)
            for k, n in ((1, 9), (2, 3))
        ]
    results = []
    for ranks in (1, 4) if kind == "simulated" else (1, 2, 3, 6):
        out = tmp_path / f"msd{ranks}.h5"
        command = [sys.executable, "-m", "mdgan_hpc.cli.msd", *files, "-o", out, "--per-particle"]
        launch = [MPIEXEC if MPIEXEC.exists() else "mpiexec", "-n", ranks]
        done = subprocess.run(
            [str(a) for a in (launch + command if ranks > 1 else command)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        results.append(load_results(out))
    for other in results[1:]:
        for name, values in results[0]["curves"].items():
            # Mean products of components cancel to nearly nothing.
            near = 1e-11 * np.abs(values).max() if name == "msd_cross" else 0.0
            np.testing.assert_allclose(
                other["curves"][name], values, rtol=1e-11, atol=near, err_msg=name
            )
        np.testing.assert_allclose(other["curves"]["msd"], results[0]["curves"]["msd"], rtol=1e-12)
        np.testing.assert_allclose(
            other["particles"]["msd"], results[0]["particles"]["msd"], rtol=1e-12
        )
        assert ("current" in other) == ("current" in results[0])
        if "current" in other:
            found, first = (r["current"]["value"] for r in (other, results[0]))
            np.testing.assert_allclose(found, first, rtol=1e-9)
        np.testing.assert_allclose(
            other["van_hove"]["density"], results[0]["van_hove"]["density"], rtol=1e-12
        )
