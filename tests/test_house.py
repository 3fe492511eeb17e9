"""Rules of the house that no other tool checks."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "mdgan_hpc").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MODULE_LINES, FUNCTION_LINES = 450, 60


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def nodes(paths: list[Path]) -> Iterator[tuple[str, ast.AST]]:
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            yield name(path), node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    assert function.end_lineno is not None
    first = function.body[0]
    told = 0
    if isinstance(first, ast.Expr) and ast.get_docstring(function, clean=False) is not None:
        assert first.end_lineno is not None
        told = first.end_lineno - first.lineno + 1
    return function.end_lineno - function.lineno + 1 - told


def test_modules_and_functions_stay_small() -> None:
    long = {name(p): n for p in MODULES if (n := len(p.read_text().splitlines())) > MODULE_LINES}
    for where, node in nodes(MODULES):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            n = length(node)
            if n > FUNCTION_LINES:
                long[f"{where}:{node.name}"] = n
    assert not long


def test_library_code_prints_nothing() -> None:
    assert not [
        f"{where}:{node.lineno}"
        for where, node in nodes(MODULES)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and not where.startswith("mdgan_hpc/cli/")
    ]


def test_no_room_but_models_asks_for_the_kind_of_a_generator() -> None:
    kinds = {"latent", "transition"}
    classes = {"Density", "LatentGenerator", "TransitionGenerator"}
    found = []
    for where, node in nodes([p for p in MODULES if "mdgan_hpc/models/" not in str(p)]):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(isinstance(s, ast.Constant) and s.value in kinds for s in sides):
                found.append(f"{where}:{node.lineno}")
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            asked = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
            if asked & classes:
                found.append(f"{where}:{node.lineno}")
    assert not found


def test_each_observable_is_defined_once() -> None:
    for observable in ("msd", "alpha2"):
        defined = [
            where
            for where, node in nodes(MODULES)
            if isinstance(node, ast.FunctionDef)
            and node.name == observable
            # Figures draw what was measured under the same name.
            and "/figures/" not in where
        ]
        assert len(defined) == 1, (observable, defined)
        assert defined[0].startswith("mdgan_hpc/analysis/observables/")


def test_no_test_module_imports_another() -> None:
    assert not [
        f"{where}:{node.lineno}"
        for where, node in nodes(TESTS)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").rpartition(".")[2].startswith("test_")
    ]


def test_the_package_is_light_to_import_and_names_its_face() -> None:
    program = (
        "import sys, mdgan_hpc\n"
        "heavy = {'numpy', 'torch', 'h5py', 'mpi4py', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "mdgan_hpc.Trajectory\n"
        "assert 'torch' not in sys.modules\n"
        "for name in mdgan_hpc.__all__:\n"
        "    assert callable(getattr(mdgan_hpc, name)), name\n"
        "    assert getattr(mdgan_hpc, name).__doc__, name\n"
        "assert set(mdgan_hpc.__all__) <= set(dir(mdgan_hpc))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("loaded_before", [False, True])
def test_rooms_are_called_as_their_verbs(loaded_before: bool, tmp_path: Path) -> None:
    first = "import mdgan_hpc.convert.batch, mdgan_hpc.generate.settings\n" * loaded_before
    run = ROOT / "tests/data/short/nve_lih8"
    program = (
        f"{first}import mdgan_hpc\n"
        "from mdgan_hpc import convert\n"
        f"path = mdgan_hpc.convert({str(run)!r}, {str(tmp_path / 'run.h5')!r}, select='Li')\n"
        "assert mdgan_hpc.Trajectory(path).n_particles == 4\n"
        "assert callable(convert)\n"
        "assert callable(mdgan_hpc.generate)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_one_version() -> None:
    import mdgan_hpc

    assert f"version: {mdgan_hpc.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{mdgan_hpc.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
