"""Round scores to significant decimal digits, so that noise in the last bits ranks nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from visift.errors import InputError

_POWERS = np.array(
    [float(10**k) for k in range(23)]
)  # 10**22 is the last one float64 holds exactly


def significant(values: NDArray[np.float64], digits: int = 6) -> NDArray[np.float64]:
    """Round to a number of significant decimal digits, correctly.

    The result is the float nearest to the decimal number that `f"{value:.{digits - 1}e}"` prints
    (half to even on the exact binary value), so equal decimal numbers are equal floats.

    Args:
        values: any shape, float64. NaN and infinities pass; -0.0 becomes 0.0.
        digits: 1 to 17.

    Returns:
        Same shape, float64.

    Raises:
        InputError: `digits` is outside 1 to 17.
    """
    if not 1 <= digits <= 17:
        raise InputError(
            f"scores cannot be rounded to {digits} significant digits", fix="Use 1 to 17."
        )
    values = np.asarray(values, dtype=np.float64)
    flat = values.ravel()
    rounded, sure = _scaled(flat, digits)
    for i in np.flatnonzero(~sure & np.isfinite(flat)).tolist():
        rounded[i] = float(f"{flat[i]:.{digits - 1}e}")
    return np.asarray(rounded.reshape(values.shape) + 0.0)  # -0.0 + 0.0 is 0.0


def _scaled(
    values: NDArray[np.float64], digits: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Round by scaling to whole numbers of `digits` digits, and tell where that is surely right.

    Multiplying or dividing a whole number by an exact power of ten rounds once, to the float
    nearest to the decimal number. Scaling the value rounds once too, so it is surely right unless
    it comes too close to a half, the exponent was misjudged or the power of ten is not exact.
    """
    size = np.abs(values)
    usable = np.isfinite(size) & (size > 0)
    size = np.where(usable, size, 1.0)
    shift = digits - 1 - np.floor(np.log10(size)).astype(np.int64)
    exact = np.abs(shift) < len(_POWERS)
    size = np.where(exact, size, 1.0)
    shift = np.where(exact, shift, 0)
    up, down = _POWERS[np.maximum(shift, 0)], _POWERS[np.maximum(-shift, 0)]
    scaled = size * up / down
    whole = np.rint(scaled)
    clear = np.abs(np.abs(scaled - whole) - 0.5) > 10.0**digits * 2.0**-51
    inside = (scaled >= 10.0 ** (digits - 1)) & (scaled < 10.0**digits)
    rounded = np.where(usable, np.copysign(whole * down / up, values), values)
    return rounded, ~usable | (exact & clear & inside)
