"""Damage to texts: JSON, TOML, JSON lines, and values of options."""

import json
import random
import re
from pathlib import Path

#: What may stand where a value of a JSON or TOML text stood.
_JSON = [
    *("NaN", "Infinity", "-1", "0", "1e999", "null", "true", '""', '"text"', "[]", "{}", "[[]]"),
    *("9" * 5000, "9" * 400, "[" * 3000, '{"a":' * 3000, "[[1], [2, 3]]", '"\\ud800"', "1.5"),
]
_TOML = [
    *("nan", "inf", "-1", "0", "1e999", "true", '""', '"text"', "[]", "{}", "[[1]]", "1979-05-27"),
    *(
        "9" * 5000,
        "9" * 4000,
        "[" * 3000,
        "{a=" * 3000,
        "1.5",
        "0x" + "f" * 60,
        "18446744073709551616",
    ),
]
#: What an option may be given.
_OPTION = [
    *("", "0", "-1", "1", "2", "nan", "inf", "1e400", "9" * 30, "9" * 5000, "text", "²", "1:2"),
    *("2:1", ":", "/", "/dev/null", "/etc/hostname", ".", "x" * 300, "a\nb", "%s%n", "3.5", "Li"),
    *("1e-300", "-1e300", "18446744073709551616", "auto", "é", "[" * 2000, "a.b=c", "="),
]


def damage_text(path: Path, rng: random.Random, values: list[str]) -> str:
    """Damage a text by a value, a byte, a cut or a tail; return what was done."""
    text = path.read_bytes().decode(errors="replace")
    kind = rng.randrange(8)
    if kind < 4:
        places = list(re.finditer(r'-?\d[\d.eE+-]*|"[^"\n]*"|\btrue\b|\bfalse\b|\bnull\b', text))
        place = rng.choice(places)
        value = rng.choice(values)
        path.write_text(text[: place.start()] + value + text[place.end() :])
        return f"{place[0][:30]} -> {value[:30]}"
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    if kind == 4:
        del data[at:]
    elif kind == 5:
        data[at] = rng.choice(b'\x00\xff{}[]",:=#\n ')
    elif kind == 6:
        data += rng.choice([bytes(64), b"\n\n", b"\xff", b"}", b"[" * 3000])
    else:
        del data[at : at + rng.choice((1, 10, 100))]
    path.write_bytes(data)
    return f"text, kind {kind} at {at}"


def damage_json(path: Path, rng: random.Random) -> str:
    """Damage a JSON text; half of the time what makes it look changed on purpose is taken out."""
    if rng.random() < 0.5:
        tree = json.loads(path.read_text())
        tree.pop("sha256", None)
        path.write_text(json.dumps(tree, indent=1))
    return damage_text(path, rng, _JSON)


def damage_toml(path: Path, rng: random.Random) -> str:
    """Damage a TOML text."""
    return damage_text(path, rng, _TOML)


def damage_options(command: str, arguments: list[str], rng: random.Random) -> list[str]:
    """Return arguments with an option of the command more, or with another value."""
    found = list(arguments)
    options = _options(command)
    for _ in range(rng.choice((1, 1, 2))):
        name, takes_value = rng.choice(options)
        if name in found and takes_value and rng.random() < 0.5:
            found[found.index(name) + 1] = rng.choice(_OPTION)
        else:
            found += [name, rng.choice(_OPTION)] if takes_value else [name]
    return found


def _options(command: str) -> list[tuple[str, bool]]:
    """Return the options of a command and whether they take a value."""
    from importlib import import_module

    parameters = import_module(f"mdgan_hpc.cli.{command}").main.params
    # Sizes and limits of what is computed: large ones are work, no damage.
    left_out = {"--particles", "--records", "--burn-in", "--workers", "--block-particles"}
    left_out |= {"--block-records", "--files", "--debug", "--out", "--output"}
    return [
        (p.opts[0], not p.is_flag)
        for p in parameters
        if p.param_type_name == "option" and p.opts[0] not in left_out
    ]
