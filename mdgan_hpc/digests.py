"""Digests: what a file says of itself, so that damage anywhere in it is seen when it is read.

A file that is read in one piece is sealed: its bytes, a mark, and their SHA-256. What is read by
its parts (a result, the parameters of a trajectory) is a tree, whose digest does not depend on how
the file keeps it. Files from before there were digests have none and are taken as they are.
"""

import hashlib
import json
from typing import Any

from mdgan_hpc.errors import DataError

_MARK = b"mdgan_hpc sealed"
_DIGEST_BYTES = hashlib.sha256().digest_size
_DAMAGED = "is damaged: its content does not match its digest"


def seal(content: bytes) -> bytes:
    """Return the bytes that follow `content` in a file."""
    return _MARK + hashlib.sha256(content).digest()


def unsealed(content: bytes, where: object, *, remedy: str = "") -> bytes:
    """Return the content of a file, checked by its seal if it has one.

    Raises
    ------
    DataError
        If the content is not what was sealed.
    """
    at = len(content) - len(_MARK) - _DIGEST_BYTES
    if at < 0 or content[at : at + len(_MARK)] != _MARK:
        return content
    return require_sealed(content, where, remedy=remedy)


def require_sealed(content: bytes, where: object, *, remedy: str = "") -> bytes:
    """Return the content of a file that must have a seal; that of before had no mark.

    Raises
    ------
    DataError
        If it has none, or the content is not what was sealed.
    """
    body = content[:-_DIGEST_BYTES].removesuffix(_MARK)
    if hashlib.sha256(body).digest() != content[-_DIGEST_BYTES:]:
        raise DataError(_DAMAGED, where=where, remedy=remedy)
    return body


def of_tree(tree: Any) -> str:
    """Return the SHA-256 of a tree of mappings, lists, arrays, texts and numbers.

    Arrays count by type, shape and bytes; the order of the keys of a mapping does not.
    """
    text = json.dumps(tree, sort_keys=True, default=_array)
    return hashlib.sha256(text.encode()).hexdigest()


def _array(value: Any) -> list[str]:
    return [value.dtype.str, str(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]


def require_digest(tree: Any, told: object, where: object, *, remedy: str = "") -> None:
    """Raise unless the digest of `tree` is what its file tells; None is told by old files.

    Raises
    ------
    DataError
    """
    try:
        damaged = told is not None and told != of_tree(tree)
    except RecursionError:
        raise DataError("is nested too deep", where=where) from None
    if damaged:
        raise DataError(_DAMAGED, where=where, remedy=remedy)
