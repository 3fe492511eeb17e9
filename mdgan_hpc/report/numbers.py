"""Numbers as a journal prints them, and the same in the characters of a plain terminal."""

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
#: What a terminal shows in place of a sign; longer ones first.
_PLAIN = (
    ("Å²", "A^2"),
    ("²", "2"),
    ("Å", "A"),
    ("±", "+-"),
    ("×", "x"),
    ("α₂", "alpha2"),
)
#: In place of a number that could not be found.
UNKNOWN = "unknown"
#: Values outside this range are written with a power of ten.
_LEAST, _MOST = 1e-3, 1e5


def decimals(error: float) -> int:
    """Return the decimals to which a value is known: those of one or two digits of its error.

    Two digits where the first three are 100 to 354, else one.

    References
    ----------
    Particle Data Group, Review of Particle Physics, introduction, section 5.3 (rounding).
    """
    exponent = math.floor(math.log10(error))
    leading = round(error / 10.0 ** (exponent - 2))
    return 1 - exponent if leading < 355 else -exponent


def rounded(value: float, places: int) -> str:
    """Return a value with so many decimals; negative ones round to tens, hundreds, ..."""
    return f"{round(value, places):.{max(places, 0)}f}"


def measured(value: float, error: float) -> str:
    """Return ``2.000 ± 0.006``, or ``(2.000 ± 0.006) × 10⁻⁴`` where a power of ten is shorter.

    What is not known is said: a jackknife has no error where all that counts is in one block.
    """
    if not math.isfinite(value):
        return UNKNOWN
    if not math.isfinite(error):
        return f"{value:.3g} ± {UNKNOWN}"
    if not error > 0:
        return f"{value:.3g} ± {error:.2g}"
    size = max(abs(value), error)
    power = 0 if _LEAST <= size < _MOST else math.floor(math.log10(size))
    places = decimals(error / 10.0**power)
    pair = " ± ".join(rounded(v / 10.0**power, places) for v in (value, error))
    return f"({pair}) × {ten_to(power)}" if power else pair


def between(low: float, high: float, error: float) -> str:
    """Return an interval with the decimals that a standard error gives."""
    if not (math.isfinite(error) and error > 0):
        return f"{low:.3g} to {high:.3g}"
    places = decimals(error)
    return f"{rounded(low, places)} to {rounded(high, places)}"


def ten_to(power: int) -> str:
    """Return a power of ten."""
    return f"10{str(power).translate(_SUPERSCRIPTS)}"


def formula(text: str) -> str:
    """Return a chemical formula with its numbers as subscripts."""
    return text.translate(_SUBSCRIPTS)


def plain_text(text: str) -> str:
    """Return a line in ASCII, for terminals and log files."""
    for sign, instead in _PLAIN:
        text = text.replace(sign, instead)
    return _without_superscripts(text)


def _without_superscripts(text: str) -> str:
    back = {raised: usual for usual, raised in zip("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True)}
    result, before_raised = [], False
    for sign in text:
        raised = sign in back
        result.append(("" if before_raised else "^") + back[sign] if raised else sign)
        before_raised = raised
    return "".join(result)
