"""How are a project's own regular expressions run, when one may take for ever?

With a limit of time. Some patterns take exponentially long on some texts, and which ones
cannot be told by looking at them; the standard library's engine could not be stopped.
"""

import math
import re
import time
from collections.abc import Callable, Mapping

import regex

from sidecar.core.errors import Invalid
from sidecar.core.masking import Replace

MAX_REPEATS = 1_000_000  # product of all counts in braces: the compiler writes copies out
BUDGET_S = 20.0  # for all texts of one chunk of rows, far more than a sound pattern takes


class Patterns:
    """Compiled patterns; call `renew` before each chunk of rows."""

    def __init__(
        self,
        patterns: Mapping[str, str],
        *,
        budget_s: float = BUDGET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Compile patterns.

        Raises:
            Invalid: One is no regular expression, or matches the empty text.
        """
        self._budget_s = budget_s
        self._clock = clock
        self._left_s: dict[str, float] = {}
        compiled = {name: _compiled(name, pattern) for name, pattern in patterns.items()}
        self.replaces: Mapping[str, Replace] = {
            name: self._replace(name, pattern) for name, pattern in compiled.items()
        }
        self.renew()

    def renew(self) -> None:
        """Give every pattern its time again."""
        self._left_s = dict.fromkeys(self.replaces, self._budget_s)

    def _replace(self, name: str, pattern: "regex.Pattern[str]") -> Replace:
        def replace(mark: str, text: str) -> tuple[str, int]:
            began_s = self._clock()
            try:
                done: tuple[str, int] = pattern.subn(
                    mark,  # without a backslash, so it stands for itself
                    text,
                    timeout=max(self._left_s[name], 0.001),
                    concurrent=True,  # lets others work meanwhile
                )
            except TimeoutError:
                msg = (
                    f"pattern {name} takes too long: it was stopped after "
                    f"{self._budget_s:g} s; avoid repeats within repeats, such as (a+)+"
                )
                raise Invalid(msg) from None
            self._left_s[name] -= self._clock() - began_s
            return done

        return replace


_COUNT = re.compile(r"\{\s*\d*\s*,?\s*\d*\s*\}")
_DIGITS = re.compile(r"\d+")


def _compiled(name: str, pattern: str) -> "regex.Pattern[str]":
    repeats = math.prod(
        max((int(digits) for digits in _DIGITS.findall(count)), default=1) or 1
        for count in _COUNT.findall(pattern)
    )
    if repeats > MAX_REPEATS:
        msg = f"pattern {name} repeats too much: its counts make more than {MAX_REPEATS}"
        raise Invalid(msg)
    try:
        compiled = regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        msg = f"pattern {name} is no regular expression: {error}"
        raise Invalid(msg) from None
    if compiled.match("") is not None:
        msg = f"pattern {name} matches the empty text, so it would stand between all letters"
        raise Invalid(msg)
    return compiled
