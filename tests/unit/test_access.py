"""Which key opens what: decided from the published routes alone."""

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from callbacks.access import (
    INFERENCE_PATHS,
    MASTER,
    Denial,
    authenticate,
    check_model,
    check_path,
)
from sidecar.core.assignment import ranges
from sidecar.core.routing import Arm, Caller, Group, RoutingTable, Task
from tests.configurations import NOON

KEY = "so-secret"
READER = Caller("reader", "p", frozenset({"read"}))
USER = Caller("user", "p", frozenset({"infer"}))


def group(name: str, *deployments: str) -> Group:
    return Group(
        name, Task.OTHER, (Arm("primary", 10_000, deployments),), ranges({"primary": 10_000})
    )


def table(*groups: Group, generation: int = 1, **keys: Caller) -> RoutingTable:
    digests = {hashlib.sha256(k.encode()).hexdigest(): caller for k, caller in keys.items()}
    entries = {"judge-canary": {}}
    aliases = {"j": "judge"}
    return RoutingTable(generation, "h", {g.name: g for g in groups}, aliases, entries, digests)


def who(key: str | None, found: RoutingTable, master: str | None = "sk-master") -> Caller:
    return authenticate(key, table=found, master_key=master, now=NOON)


def test_a_published_key_is_its_caller_and_the_master_key_is_the_master() -> None:
    found = table(**{KEY: USER})
    assert who(KEY, found) is USER
    assert who("sk-master", found) is MASTER


@pytest.mark.parametrize("key", [None, "", "so-other", KEY.upper(), "\ud800", "é" * 10_000])
def test_any_other_key_is_refused_without_being_repeated(key: str | None) -> None:
    with pytest.raises(Denial) as refused:
        who(key, table(**{KEY: USER}))
    assert (refused.value.status, refused.value.kind) == (401, "authentication_error")
    assert not key or key not in str(refused.value)


@pytest.mark.parametrize("master", [None, ""])
def test_without_a_master_key_no_key_is_the_master(master: str | None) -> None:
    for key in ("", "None", "master"):
        with pytest.raises(Denial):
            who(key, table(**{KEY: USER}), master)


def test_a_revoked_key_is_one_that_is_published_no_longer() -> None:
    assert who(KEY, table(**{KEY: USER})) is USER
    with pytest.raises(Denial, match="unknown or was revoked"):
        who(KEY, table(generation=2))


def test_before_anything_was_published_an_unknown_key_is_told_to_come_back() -> None:
    with pytest.raises(Denial, match="is the sidecar running") as refused:
        who(KEY, table(generation=0))
    assert refused.value.status == 503
    assert who("sk-master", table(generation=0)) is MASTER


@pytest.mark.parametrize(("left_s", "opens"), [(1, True), (0, False), (-1, False)])
def test_a_key_ends_at_its_moment(left_s: int, opens: bool) -> None:
    ending = Caller("e", "p", frozenset(), expires_at=NOON + timedelta(seconds=left_s))
    if opens:
        assert who(KEY, table(**{KEY: ending})) is ending
    else:
        with pytest.raises(Denial, match="has expired"):
            who(KEY, table(**{KEY: ending}))


@pytest.mark.parametrize("path", sorted(INFERENCE_PATHS))
def test_infer_opens_what_calls_models_and_nothing_less_does(path: str) -> None:
    check_path(USER, path)
    check_path(USER, f"{path}/")
    with pytest.raises(Denial, match="lacks the scope 'infer'"):
        check_path(READER, path)


@pytest.mark.parametrize(
    "path",
    [
        *("/key/generate", "/v1/model/info", "/get/config/callbacks", "/", "", "/metrics"),
        *("/v1/chat/completions/../../key/generate", "/V1/CHAT/COMPLETIONS", "/v1//models"),
        *("/openai/deployments/x/chat/completions", "/v1/files", "/v1/batches"),
    ],
)
def test_every_other_path_is_the_master_keys_alone(path: str) -> None:
    check_path(MASTER, path)
    with pytest.raises(Denial) as refused:
        check_path(USER, path)
    assert (refused.value.status, refused.value.param) == (403, "api_key")


JUDGE, DRAFT = group("judge", "judge-primary"), group("draft", "draft-1")


def check(model: str, *permitted: str, trusted: bool = False, found: Any = None) -> Any:
    routes = found or table(JUDGE, DRAFT)
    return check_model(model, table=routes, permitted=permitted, trusted=trusted)


@pytest.mark.parametrize("permitted", [(), ("judge",), ("judge", "draft")])
def test_a_permitted_group_is_found_under_all_its_names(permitted: tuple[str, ...]) -> None:
    assert check("judge", *permitted) is JUDGE
    assert check("j", *permitted) is JUDGE


def test_permission_for_an_alias_is_for_the_alias() -> None:
    assert check("j", "j") is JUDGE
    with pytest.raises(Denial) as refused:
        check("judge", "j")
    assert refused.value.status == 403


def test_another_group_is_refused_with_what_may_be_asked_for() -> None:
    with pytest.raises(Denial, match="may ask for 'draft'") as refused:
        check("judge", "draft")
    assert (refused.value.status, refused.value.kind) == (403, "permission_denied")


@pytest.mark.parametrize("model", ["nobody", "judge-canary", "judge-primary", "x" * 9_999])
def test_what_does_not_exist_for_a_key_is_a_404_that_lists_what_does(model: str) -> None:
    with pytest.raises(Denial, match="'draft', 'j', 'judge'") as refused:
        check(model)
    assert refused.value.status == 404
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("model", ["judge-canary", "judge-primary"])
def test_only_the_trusted_may_name_a_deployment(model: str) -> None:
    assert check(model, trusted=True) is None
    with pytest.raises(Denial):
        check("nobody", trusted=True)


def test_a_wildcard_lets_other_names_pass_but_no_deployments() -> None:
    open_ = table(JUDGE, group("openai/*"))
    assert check("openai/gpt-5", found=open_) is None
    for refused in ("judge-canary", "judge-primary"):
        with pytest.raises(Denial):
            check(refused, found=open_)
    with pytest.raises(Denial):
        check("openai/gpt-5", "judge", found=open_)


def test_a_long_list_of_models_is_cut() -> None:
    many = table(*(group(f"g{number:03}") for number in range(50)))
    with pytest.raises(Denial, match="'g019' and 31 more") as refused:
        check("nobody", found=many)
    assert "'g020'" not in str(refused.value)
