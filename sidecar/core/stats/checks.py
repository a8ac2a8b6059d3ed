"""What may a formula be fed? One answer for every statistic of this package."""

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sidecar.core.errors import Invalid

FloatArray = NDArray[np.float64]

# A formula that takes arrays takes them for all of its arguments of this type, and then
# answers with an array; plain numbers get a plain number back.
Number = TypeVar("Number", float, FloatArray)


def check_finite(**values: float | FloatArray) -> None:
    """Refuse what is infinite or not a number.

    Raises:
        Invalid: Some value is NaN or infinite.
    """
    for name, value in values.items():
        # NumPy takes ten times as long over a single number.
        is_number = isinstance(value, float | int)
        if not (math.isfinite(value) if is_number else np.isfinite(value).all()):
            msg = f"{name} must be finite, found {_shown(value)}"
            raise Invalid(msg)


def check_positive(**values: float | FloatArray) -> None:
    """Refuse what is not above 0.

    Raises:
        Invalid: Some value is 0, negative, NaN or infinite.
    """
    check_finite(**values)
    for name, value in values.items():
        if not (value > 0 if isinstance(value, float | int) else np.all(value > 0)):
            msg = f"{name} must be above 0, found {_shown(value)}"
            raise Invalid(msg)


def check_counts(**values: float | FloatArray) -> None:
    """Refuse what cannot be a count or a sum of weights.

    Raises:
        Invalid: Some value is negative, NaN or infinite.
    """
    check_finite(**values)
    for name, value in values.items():
        if not (value >= 0 if isinstance(value, float | int) else np.all(value >= 0)):
            msg = f"{name} must not be negative, found {_shown(value)}"
            raise Invalid(msg)


def check_inside_unit(**values: float) -> None:
    """Refuse what is not strictly between 0 and 1.

    Raises:
        Invalid: Some value is outside (0, 1).
    """
    for name, value in values.items():
        if not 0 < value < 1:
            msg = f"{name} must be between 0 and 1, both excluded, found {value}"
            raise Invalid(msg)


def plain(value: Number) -> Number:
    """Turn NumPy's scalar into Python's, which every encoder knows; leave arrays alone."""
    # Any: the type checker reads the body once for each kind of `Number`.
    answer: Any = value if np.ndim(value) else float(value)
    narrowed: Number = answer
    return narrowed


def _shown(value: float | FloatArray) -> str:
    return "an array that holds another" if np.ndim(value) else str(value)
