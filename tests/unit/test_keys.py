"""What a key is allowed to be, and what it opens."""

import re
from datetime import datetime, timedelta

import pytest

from sidecar.core.errors import Denied, Invalid
from sidecar.core.keys import (
    SCOPES,
    Key,
    check_expiry,
    check_project,
    check_scopes,
    digest_of,
    require_scope,
)
from tests.configurations import NOON

SECOND = timedelta(seconds=1)


def key(**more: datetime | None) -> Key:
    return Key("k1", "mine", None, ("infer",), ("judge",), NOON, "admin", **more)


@pytest.mark.parametrize(
    ("ends", "revoked", "valid"),
    [
        (None, None, True),
        (NOON + SECOND, None, True),
        (NOON, None, False),
        (NOON - SECOND, None, False),
        (None, NOON, False),
        (NOON + SECOND, NOON, False),
    ],
)
def test_a_key_opens_until_it_expires_or_is_revoked(
    ends: datetime | None, revoked: datetime | None, valid: bool
) -> None:
    assert key(expires_at=ends, revoked_at=revoked).is_valid(NOON) is valid


def test_the_caller_of_a_key_is_all_the_proxy_is_told_of_it() -> None:
    caller = key(expires_at=NOON).caller()
    assert (caller.key_id, caller.project_id, caller.expires_at) == ("k1", "mine", NOON)
    assert (caller.scopes, caller.models) == ({"infer"}, {"judge"})


def test_a_digest_is_sha_256_in_hexadecimal() -> None:
    # The test vector of FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_of("abc") == expected
    assert digest_of("\ud800") != digest_of("?")


def test_scopes_are_put_in_order_each_once() -> None:
    assert check_scopes(["read", "infer", "read"]) == ("infer", "read")
    assert check_scopes(reversed(SCOPES)) == SCOPES


@pytest.mark.parametrize(
    ("scopes", "named"),
    [([], "none"), (["root"], "root"), (["read", "Infer", "x"], "Infer, x")],
)
def test_an_unknown_scope_is_named_with_those_there_are(scopes: list[str], named: str) -> None:
    with pytest.raises(Invalid, match=f"infer, read, review, operate, admin, found {named}"):
        check_scopes(scopes)


@pytest.mark.parametrize("project", ["a", "9", "my-project_2.0", "x" * 63])
def test_a_plain_name_is_a_project(project: str) -> None:
    assert check_project(project) == project


@pytest.mark.parametrize(
    "project", ["", "x" * 64, "-a", ".a", "a b", "a/b", "é", "a\n", "../../etc", "a\x00"]
)
def test_what_could_break_a_header_or_a_path_is_no_project(project: str) -> None:
    with pytest.raises(Invalid, match=re.escape(repr(project[:80]))):
        check_project(project)


def test_a_key_may_only_end_in_the_future() -> None:
    assert check_expiry(None, NOON) is None
    assert check_expiry(NOON + SECOND, NOON) == NOON + SECOND
    for past in (NOON, NOON - SECOND):
        with pytest.raises(Invalid, match="has passed"):
            check_expiry(past, NOON)
    with pytest.raises(Invalid, match="needs a time zone"):
        check_expiry(NOON.replace(tzinfo=None) + SECOND, NOON)


@pytest.mark.parametrize("needed", SCOPES)
def test_admin_includes_every_scope_and_no_other_scope_does(needed: str) -> None:
    require_scope(frozenset({"admin"}), needed)
    require_scope(frozenset({needed}), needed)
    others = frozenset(SCOPES) - {needed, "admin"}
    if needed != "admin":
        with pytest.raises(Denied, match=f"needs the scope '{needed}'"):
            require_scope(others, needed)
    with pytest.raises(Denied):
        require_scope(frozenset(), needed)
