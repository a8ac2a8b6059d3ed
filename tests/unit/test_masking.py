"""What tells who somebody is goes; what does not, stays."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.datasets import Redact
from sidecar.core.errors import Invalid
from sidecar.core.masking import Masker, mask_messages
from sidecar.service.patterns import Patterns


def masked(text: str, redact: Redact | None = None) -> str:
    return Masker(redact or Redact(), {}).mask(text, Counter())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://a.example/b?c=d#e, please", "see [link] please"),
        ("(www.example.org/x)", "([link])"),
        ("HTTP://A.EXAMPLE", "[link]"),
        ("mail ann.b+c@mail.example.org!", "mail [mail]!"),
        ("ask @ann_b or @cid.d", "ask [handle] or [handle]"),
        ("call +49 30 1234567 now", "call [phone] now"),
        ("call +1-202-555-0143.", "call [phone]."),
        ("call (030) 123 45 67", "call [phone]"),
        ("call 030/1234 5678 9", "call [phone] 9"),
        ("call 202-555-0143", "call [phone]"),
    ],
)
def test_links_mail_phones_and_handles_are_masked(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "it costs 1,234,567 or 12.5",
        "on 2026-01-31 and 31.12.2025 at 12:30",
        "order 123456789012",
        "a@b",
        "C++ @ home, user@",
        "10-20-30",
        "ratio 1/2, 3-4",
        "name@",
    ],
)
def test_prices_dates_and_ids_stay(text: str) -> None:
    assert masked(text) == text


def test_what_is_not_asked_for_stays() -> None:
    text = "@ann https://a.example ann@b.example +49 30 1234567"
    keep_all = Redact(handles=False, links=False, mail=False, phone=False)
    assert masked(text, keep_all) == text
    assert masked(text, Redact(mail=False)) == "[handle] [link] ann@b.example [phone]"


@given(st.text(alphabet="a1@./+ -(h:tps)w", max_size=60))
def test_what_is_masked_is_not_masked_again(text: str) -> None:
    once = masked(text)
    assert masked(once) == once


def test_what_is_found_is_counted() -> None:
    counts: Counter[str] = Counter()
    Masker(Redact(), {}).mask("@ann @bob https://a.example", counts)
    assert +counts == {"handle": 2, "link": 1}


def test_a_projects_own_pattern_is_masked_under_its_name() -> None:
    own = Patterns({"ticket": r"T-\d+"})
    counts: Counter[str] = Counter()
    assert Masker(Redact(), own.replaces).mask("see T-17", counts) == "see [ticket]"
    assert counts["ticket"] == 1


def test_only_texts_of_messages_are_masked() -> None:
    messages: list[object] = [
        {"role": "user", "name": "@ann", "content": "@ann"},
        {"role": "user", "content": [{"type": "text", "text": "@bob"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": []},
    ]
    assert mask_messages(messages, masked) == [
        {"role": "user", "name": "@ann", "content": "[handle]"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "[handle]"}, {"type": "image_url"}],
        },
        {"role": "assistant", "content": None, "tool_calls": []},
    ]


@pytest.mark.parametrize(("pattern", "why"), [("(", "no regular"), ("a*", "empty text")])
def test_a_pattern_that_cannot_be_is_refused_by_its_name(pattern: str, why: str) -> None:
    with pytest.raises(Invalid, match=f"pattern mine .*{why}"):
        Patterns({"mine": pattern})


def test_a_pattern_that_runs_away_is_stopped() -> None:
    own = Patterns({"mine": r"(?:a|aa|a.)+\d\d$"}, budget_s=0.05)
    with pytest.raises(Invalid, match="pattern mine takes too long"):
        own.replaces["mine"]("[mine]", "a" * 200 + "!")


def test_a_patterns_time_is_that_of_all_texts_together_until_it_is_renewed() -> None:
    times = iter(range(0, 1_000, 6))
    own = Patterns({"mine": "x+"}, budget_s=5.0, clock=lambda: float(next(times)))
    replace = own.replaces["mine"]
    assert replace("[mine]", "axxb") == ("a[mine]b", 1)
    slow = r"(?:x|xx|x.)+\d\d$"
    assert Patterns({"mine": slow}).replaces["mine"]("[m]", "x12") == ("[m]", 1)
