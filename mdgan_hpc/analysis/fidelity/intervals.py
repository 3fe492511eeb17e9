"""Two record intervals brought to the same lags."""

from fractions import Fraction

from mdgan_hpc.errors import DataError

#: Strides tried to bring two record intervals to a common multiple.
LARGEST_STRIDE = 50


def common_strides(first_ps: float, second_ps: float) -> tuple[int, int]:
    """Return the least strides that give two record intervals the same lags.

    Raises
    ------
    DataError
        If there are none up to 50.
    """
    ratio = Fraction(second_ps / first_ps).limit_denominator(LARGEST_STRIDE)
    a, b = ratio.numerator, ratio.denominator
    if not a or a > LARGEST_STRIDE or abs(a * first_ps / (b * second_ps) - 1) > 1e-4:
        raise DataError(
            f"records every {first_ps:g} ps and every {second_ps:g} ps have no common lag",
            remedy="generate with a record interval that is a multiple of the MD's",
        )
    return a, b
