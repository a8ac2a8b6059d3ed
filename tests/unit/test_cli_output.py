"""How answers are written for people."""

from pathlib import Path

import pytest

from sidecar.cli.client import find_key
from sidecar.cli.output import clean, ordered, percent, text_of, time_of


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.1, "10 %"),
        (1, "100 %"),
        (0.0001, "0.01 %"),
        (0.3333, "33.33 %"),
        (0, "0 %"),
        (None, "-"),
    ],
)
def test_a_share_is_a_percentage(share: float | None, shown: str) -> None:
    assert percent(share) == shown


def test_a_moment_is_written_in_utc() -> None:
    assert time_of("2026-01-01T13:00:00.5+01:00") == "2026-01-01 12:00:00Z"
    assert time_of(None) == "-"


def test_a_terminal_is_not_steered_by_what_a_model_wrote() -> None:
    assert "\x1b" not in clean("\x1b[2Jgone\x9b1m\x07")
    assert clean("a\tb\nc") == "a\tb\nc"
    assert clean("\ud800") == "?"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ([], "-"),
        (True, "yes"),
        (0, "0"),
        (["a", "b"], "a, b"),
        ({"a": 1}, "a 1"),
    ],
)
def test_nothing_is_shown_as_a_dash_and_0_as_0(value: object, shown: str) -> None:
    assert text_of(value) == shown


def test_counts_come_most_frequent_first() -> None:
    assert ordered({"b": 1, "a": 1, "c": 2000}) == "c 2,000, a 1, b 1"


def test_a_key_of_the_environment_comes_before_the_homes(tmp_path: Path) -> None:
    home = tmp_path / ".local/share/signalops"
    home.mkdir(parents=True)
    (home / ".env").write_text("SIGNALOPS_ADMIN_KEY=three\n")
    both = {"SIGNALOPS_ADMIN_KEY": "one", "SIGNALOPS_KEY": "two"}
    assert find_key(both, tmp_path) == "one"
    assert find_key({"SIGNALOPS_KEY": "two"}, tmp_path) == "two"
    assert find_key({}, tmp_path) == "three"
    assert find_key({"SIGNALOPS_HOME": str(home)}, tmp_path / "other") == "three"
