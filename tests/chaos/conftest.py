from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chaos.commands import Commands
from tests.support.chaos.inputs import InputChaos
from tests.support.chaos.material import Material
from tests.support.chaos.stages import SEED


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    with Commands() as found:
        yield found


@pytest.fixture(scope="session")
def chaos(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> InputChaos:
    """Whole files of every kind, and what damages copies of them."""
    return InputChaos(tmp_path_factory.mktemp("chaos"), commands, seed=int(SEED))


@pytest.fixture
def material(chaos: InputChaos, tmp_path: Path) -> Material:
    """A copy of the whole files."""
    return chaos.copy_to(tmp_path / "files")
