"""Cells as an experiment would have filled them, for the tests of the analysis."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from sidecar.core.cells import Cell
from sidecar.core.facts import CONFIDENCE, MICRO
from sidecar.core.results import StageDesign

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)

HALF = CONFIDENCE // 2  # a judge that gave no confidence counts as one half


def cell(
    units: int,
    *,
    bad: int = 0,
    slow: int = 0,
    audited: tuple[int, int] = (0, 0),
    labels: Mapping[str, int] | None = None,
    **more: int,
) -> Cell:
    """Fill a cell in which every call is a unit, and one in ten was drawn uniformly.

    Args:
        audited: Labelled calls, and those of them that agree.
        labels: Calls by the model's label.
        more: Further totals, or others in place of those that follow.
    """
    labelled, agree = audited
    ok, w = units - bad, 10 * MICRO
    totals = {
        "calls": units,
        "ok": ok,
        "bad": bad,
        "units": units,
        "nn": units,
        "units_bad": bad,
        "units_slow": slow,
        "audit_n": ok,
        "audit_f": ok * HALF,
        "audit_ff": ok * HALF**2,
        "drawn": labelled,
        "labelled": labelled,
        "agree": agree,
        "disagree": labelled - agree,
        **weighted(labelled, agree, w),
        **{f"label:{name}": n for name, n in (labels or {}).items()},
    }
    return Cell(totals | more)


def weighted(labelled: int, agree: int, w: int, f: int = HALF) -> dict[str, int]:
    """Give the audit's sums of equally weighted calls of one confidence."""
    sums = {}
    for name, weight in (("w", w), ("w2", w * w)):
        sums |= {
            name: labelled * weight,
            f"{name}y": agree * weight,
            f"{name}f": labelled * weight * f,
            f"{name}yf": agree * weight * f,
            f"{name}ff": labelled * weight * f * f,
        }
    return sums | {"u_w2": labelled * w * w, "u_wy2": agree * w * w, "u_wy_w": agree * w * w}


# The worked example: 30,000 units over the default ramp. Its numbers were computed apart,
# by the standard-library reference of the specification.
EXAMPLE = {
    "units": [(4952, 48), (4747, 253), (7494, 2506), (4011, 3989)],
    "bad": [(47, 1), (51, 3), (70, 26), (44, 40)],
    "slow": [(251, 2), (232, 14), (379, 131), (203, 205)],
    "audited": [
        ((495, 417), (5, 4)),
        ((471, 385), (25, 22)),
        ((748, 639), (249, 216)),
        ((402, 330), (398, 349)),
    ],
    "relevant": [(1730, 17), (1671, 88), (2610, 881), (1402, 1399)],
    "irrelevant": [(2489, 23), (2357, 131), (3752, 1244), (2010, 1985)],
    "maybe": [(686, 7), (668, 31), (1062, 355), (555, 565)],
}
LABELS = ("relevant", "irrelevant", "maybe")


def designs(*canary_bps: int, each: timedelta = timedelta(days=1)) -> list[StageDesign]:
    first = NOON - each * len(canary_bps)
    return [
        StageDesign(
            i + 1,
            {"primary": 10_000 - bp, "canary": bp},
            first + each * i,
            None if i + 1 == len(canary_bps) else first + each * (i + 1),
        )
        for i, bp in enumerate(canary_bps)
    ]


RAMP = designs(100, 500, 2_500, 5_000)


def example_cells() -> dict[tuple[int, str], Cell]:
    return {
        (stage + 1, arm): cell(
            EXAMPLE["units"][stage][i],
            bad=EXAMPLE["bad"][stage][i],
            slow=EXAMPLE["slow"][stage][i],
            audited=EXAMPLE["audited"][stage][i],
            labels={name: EXAMPLE[name][stage][i] for name in LABELS},
        )
        for stage in range(4)
        for i, arm in enumerate(("primary", "canary"))
    }
