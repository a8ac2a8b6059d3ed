import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.up.child import (
    HEALTHY_AFTER_S,
    MAX_DELAY_S,
    STUBBORN,
    Event,
    History,
    Kind,
)
from sidecar.up.groups import Group
from sidecar.up.keeper import follow

LOG = Path("/logs/proxy.log")
NO_PROCESS = 2**22 + 1  # above the kernel's largest pid
OTHER = NO_PROCESS + 1


def after(*exits: tuple[int | None, float]) -> History:
    history = History()
    for code, uptime_s in exits:
        history = history.after(code, uptime_s=uptime_s)
    return history


def test_delays_double_from_half_a_second_to_thirty() -> None:
    delays = [after(*[(1, 0.0)] * failures).delay_s for failures in range(1, 9)]
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30]


@given(st.integers(1, 10_000))
def test_however_often_it_fails_the_delay_stays_in_bounds(failures: int) -> None:
    assert 0.5 <= History(failures=failures).delay_s <= MAX_DELAY_S


@given(st.lists(st.tuples(st.sampled_from([0, 1, -9, None]), st.floats(0, 59))))
def test_a_minute_of_health_forgives_whatever_came_before(
    exits: list[tuple[int | None, float]],
) -> None:
    healthy = after(*exits, (1, HEALTHY_AFTER_S))
    assert healthy == History(failures=1, repeats=1, code=1)
    assert math.isclose(healthy.delay_s, 0.5)


def test_just_less_than_a_minute_forgives_nothing() -> None:
    assert after((1, 0.0), (1, 59.9)).failures == 2


@pytest.mark.parametrize(
    ("codes", "repeats"),
    [
        pytest.param([1, 1, 1], 3, id="all equal"),
        pytest.param([1, 1, 2], 1, id="another one at the end"),
        pytest.param([2, 1, 1], 2, id="another one before"),
        pytest.param([None, None], 2, id="could not even be started"),
    ],
)
def test_only_equal_exits_in_a_row_count_as_repeats(
    codes: list[int | None], repeats: int
) -> None:
    history = after(*[(code, 0.0) for code in codes])
    assert history.repeats == repeats
    assert history.failures == len(codes)


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (Event("proxy", Kind.STARTED, LOG, pid=7), "proxy started (pid 7)"),
        (Event("proxy", Kind.READY, LOG), "proxy is ready"),
        (Event("proxy", Kind.STOPPED, LOG), "proxy stopped"),
        (Event("proxy", Kind.RESTARTING, LOG, delay_s=0.5), "proxy is restarted in 0.5 s"),
        (Event("proxy", Kind.EXITED, LOG, code=3, repeats=1), "proxy exited with code 3"),
        (Event("proxy", Kind.EXITED, LOG, code=-9, repeats=1), "proxy was ended by SIGKILL"),
        (Event("proxy", Kind.EXITED, LOG, code=-40), "proxy was ended by signal 40"),
        (
            Event("proxy", Kind.EXITED, LOG, reason="no such directory"),
            "proxy could not be started: no such directory",
        ),
        (
            Event("proxy", Kind.EXITED, LOG, code=1, repeats=STUBBORN),
            f"proxy exited with code 1, 5 times in a row; its log: {LOG}",
        ),
    ],
)
def test_an_event_reads_as_a_sentence(event: Event, sentence: str) -> None:
    assert str(event) == sentence


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        pytest.param([], [], id="nothing was ever started"),
        pytest.param([f"+{NO_PROCESS}\n"], [NO_PROCESS], id="one is left"),
        pytest.param([f"+{NO_PROCESS}\n", f"-{NO_PROCESS}\n"], [], id="it is gone"),
        pytest.param([f"+{NO_PROCESS}\n", "bye\n"], [], id="the owner says goodbye"),
        pytest.param([f"+{NO_PROCESS}\n", "by"], [NO_PROCESS], id="goodbye cut short"),
        pytest.param([f"+{NO_PROCESS}\n", f"+{OTHER}"], [NO_PROCESS], id="number cut short"),
        pytest.param(["+0\n", "+1\n", "+-5\n", "?\n", "\n"], [], id="no group of ours"),
        pytest.param([f"+{os.getpgrp()}\n"], [], id="the keeper's own group"),
        pytest.param([f"-{OTHER}\n", f"+{NO_PROCESS}\n"], [NO_PROCESS], id="unknown is gone"),
    ],
)
def test_the_keeper_knows_what_its_owner_left_behind(lines: list[str], left: list[int]) -> None:
    assert follow(line.encode() for line in lines) == [Group(pgid, None) for pgid in left]
