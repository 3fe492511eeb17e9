"""Damage to model files: bytes, values, sizes, and what an attacker would put in."""

import io
import pickle
import random
import zipfile
from pathlib import Path

import torch

from mdgan_hpc.digests import seal, unsealed
from tests.support.chaos.hdf5 import damage_bytes

_VALUES = [
    *(None, 0, -1, 2.5, float("nan"), float("inf"), 10**30, "text", "", [], {}, True),
    *([1.0, 2.0], {"a": 1}, 10**9, torch.zeros(3), torch.full((3, 3), float("nan"))),
]


class _Attack:
    """What pickle would run when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return (exec, (f"open({str(self.canary)!r}, 'w').close()",))


def damage_model(path: Path, rng: random.Random) -> str:
    """Damage a model file; return what was done."""
    kind = rng.randrange(6)
    if kind < 2:
        return damage_bytes(path, rng)
    body = unsealed(path.read_bytes(), path)
    if kind == 2:
        return _pack(path, body, rng)
    content = torch.load(io.BytesIO(body), weights_only=True)
    if kind == 3:
        canary = path.with_name("canary")
        told = _attack(content, canary, rng)
    else:
        told = _change(content, rng)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    made = buffer.getvalue()
    path.write_bytes(made + (seal(made) if rng.random() < 0.7 else b""))
    return told


def _pack(path: Path, body: bytes, rng: random.Random) -> str:
    """Write the archive again: packed, with a bomb in it, or as something else than an archive."""
    kind = rng.randrange(3)
    if kind == 0:
        path.write_bytes(pickle.dumps(_Attack(path.with_name("canary"))))
        return "a pickle"
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(body)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, bytes(50 * 2**20) if kind == 2 and "/data/0" in name else data)
    path.write_bytes(out.getvalue())
    return f"packed, kind {kind}"


def _attack(content: dict, canary: Path, rng: random.Random) -> str:
    content[rng.choice(sorted(content))] = _Attack(canary)
    return "something to run"


def _change(content: dict, rng: random.Random) -> str:
    """Change, add or take out a value somewhere."""
    branch, path = content, []
    while True:
        key = rng.choice(sorted(branch))
        path.append(str(key))
        if not isinstance(branch[key], dict) or not branch[key] or rng.random() < 0.2:
            break
        branch = branch[key]
    value = branch[key]
    kind = rng.randrange(5)
    if kind == 0:
        del branch[key]
    elif kind == 1:
        branch[f"{key}x"] = branch.pop(key)
    elif isinstance(value, torch.Tensor) and kind < 4:
        branch[key] = rng.choice(
            [
                lambda v: v[:-1] if v.ndim else v[None],
                lambda v: v[None],
                lambda v: v.to(torch.complex64) if v.is_floating_point() else v.double(),
                lambda v: torch.zeros(1).expand(10**5, 10**5),
                lambda v: torch.zeros(1).expand(v.shape or (1,)),
                lambda v: v.to(torch.float16),
                lambda v: torch.empty(0),
            ]
        )(value)
    else:
        branch[key] = rng.choice(_VALUES)
    return f"{'.'.join(path)}, kind {kind}"
