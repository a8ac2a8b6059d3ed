"""How is the permitted error shared between looking all the time and looking at the end?

A confidence sequence may be read at every look and pays for it with width. An experiment
with a declared end can buy some of that back: half of alpha goes to the sequence, and half
to one ordinary interval, read once, when the end is reached. By the union bound the two
together are wrong with probability alpha at most.
"""

import math
from dataclasses import dataclass

from scipy.special import ndtri

from sidecar.core.stats.checks import check_inside_unit
from sidecar.core.stats.sequential import half_width


@dataclass(frozen=True, slots=True)
class Spending:
    """How alpha, two-sided, is spent.

    Measured at alpha 0.05 and power 0.8: with the look at the horizon 1.25 times the labels
    of a test read once suffice, without it 1.65 times.

    Args:
        alpha: Total error of the interval, both sides together, in (0, 1).
        horizon_look: Whether half is kept for one look at the declared horizon. That look
            must be taken once, at an end that was declared before the data came.

    Raises:
        Invalid: Alpha outside (0, 1).

    Source:
        The union bound; the hybrid of Eppo's documentation ("sequential-hybrid").
    """

    alpha: float
    horizon_look: bool = True

    def __post_init__(self) -> None:
        check_inside_unit(alpha=self.alpha)

    @property
    def alpha_sequential(self) -> float:
        """What the confidence sequence, valid at every look, may spend."""
        return self.alpha / 2 if self.horizon_look else self.alpha

    @property
    def alpha_at_horizon(self) -> float:
        """What the one look at the horizon may spend; 0 when there is none."""
        return self.alpha - self.alpha_sequential

    @property
    def z_at_horizon(self) -> float:
        """Standard errors on each side of the horizon's interval; infinity without one."""
        if not self.horizon_look:
            return math.inf
        return float(-ndtri(self.alpha_at_horizon / 2))

    def half_width(self, se: float, tau: float, *, at_horizon: bool) -> float:
        """Half of the width of the interval that may be read now, in the estimate's unit.

        Args:
            se: The estimate's standard error, above 0.
            tau: The mixture's scale: the margin or the effect to be found.
            at_horizon: Whether this is the one look at the declared end.
        """
        running = float(half_width(se, tau, self.alpha_sequential))
        return min(running, self.z_at_horizon * se) if at_horizon else running
