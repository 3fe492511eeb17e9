"""Choosing atoms: by species label, element, index ranges, or all."""

import difflib
import re

import numpy as np

from mdgan_hpc.errors import UsageError

_RANGE = re.compile(r"(\d+)(?:-(\d+))?\Z")


def selected(text: str, labels: list[str], elements: list[str]) -> np.ndarray:
    """Return which atoms a selection names.

    Parameters
    ----------
    text : str
        Species labels, elements and index ranges (from 1), separated by commas, or ``all``.
    labels, elements : list of str, [N]
        Species label and element symbol of each atom.

    Returns
    -------
    array of bool, [N]

    Raises
    ------
    UsageError
        For a word that names no atom, with the nearest that does.
    """
    n_atoms = len(labels)
    label_of, element_of = np.array(labels), np.array(elements)
    chosen = np.zeros(n_atoms, bool)
    for word in (part.strip() for part in text.split(",")):
        if word.lower() == "all":
            chosen[:] = True
        elif match := _RANGE.match(word):
            # Python turns no text of thousands of digits into a number.
            first, last = (int(number[-18:]) for number in (match[1], match[2] or match[1]))
            if not 1 <= first <= last <= n_atoms:
                raise UsageError(f"--select {word}: atoms are numbered 1 to {n_atoms}")
            chosen[first - 1 : last] = True
        elif word in labels:
            chosen |= label_of == word
        elif word.capitalize() in elements and word:
            chosen |= element_of == word.capitalize()
        else:
            atoms = sorted({*labels, *elements})
            near = difflib.get_close_matches(word, atoms, n=1, cutoff=0.4)
            near = near or difflib.get_close_matches(word, ["all"])
            remedy = f"did you mean {near[0]}?" if near else ""
            raise UsageError(
                f"--select {word!r} names no atom; there are {', '.join(atoms)}, all", remedy=remedy
            )
    return chosen
