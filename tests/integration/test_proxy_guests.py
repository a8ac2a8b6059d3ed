"""What LiteLLM gets from us beside the hooks: an answer about a key, and deployments."""

import hashlib
from pathlib import Path
from typing import Any

import litellm
import pytest
from litellm.proxy._types import LitellmUserRoles, ProxyException
from starlette.requests import Request

from callbacks.auth import make_auth
from callbacks.deployments import Deployments, resolve
from callbacks.handler import Handler
from callbacks.payload.request import caller_of
from callbacks.worker import Worker
from sidecar.core.assignment import ranges
from sidecar.core.routing import Arm, Caller, Group, RoutingTable, Task
from sidecar.handoff.routes import FILE_NAME, write_routes

# LiteLLM's own types make pydantic warn when the first of them is used.
pytestmark = pytest.mark.filterwarnings("ignore:Items? .* on TypedDict class:UserWarning")

KEY = "so-secret"
CHAT = "/v1/chat/completions"


def request(path: str = CHAT) -> Request:
    return Request({"type": "http", "method": "POST", "path": path, "headers": []})


def entry(name: str, model: str = "openai/gpt-4.1-mini", **params: Any) -> dict[str, Any]:
    given = {"model": model, "api_key": "os.environ/SIGNALOPS_TEST_KEY", **params}
    return {"model_name": "judge", "litellm_params": given, "model_info": {"id": name}}


def table(*entries: dict[str, Any], generation: int = 1, **keys: Caller) -> RoutingTable:
    named = {entry["model_info"]["id"]: entry for entry in entries}
    arms = (Arm("primary", 10_000, tuple(named)),)
    groups = {"judge": Group("judge", Task.JUDGE, arms, ranges({"primary": 10_000}))}
    digests = {hashlib.sha256(k.encode()).hexdigest(): caller for k, caller in keys.items()}
    return RoutingTable(generation, f"h{generation}", groups, {}, named, digests)


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path)


@pytest.fixture
def router(environment: None) -> litellm.Router:
    return litellm.Router(model_list=[resolve(entry("a")), resolve(entry("b"))])


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALOPS_TEST_KEY", "sk-from-the-environment")


def served(router: litellm.Router) -> dict[str, str]:
    return {d["model_info"]["id"]: d["litellm_params"]["model"] for d in router.model_list}


async def test_a_projects_key_becomes_litellms_key_of_that_project(worker: Worker) -> None:
    caller = Caller("k1", "mine", frozenset({"infer"}), frozenset({"judge"}))
    worker.use(table(entry("a"), **{KEY: caller}))
    found = await make_auth(worker, "sk-master")(request(), KEY)
    assert (found.user_id, found.key_alias, found.models) == ("mine", "k1", ["judge"])
    assert found.user_role is None
    assert dict(caller_of(found)) == {
        "key_id": "k1",
        "project_id": "mine",
        "models": ["judge"],
    }
    assert KEY not in repr(found)


async def test_the_master_key_is_litellms_administrator(worker: Worker) -> None:
    found = await make_auth(worker, "sk-master")(request("/key/generate"), "sk-master")
    assert found.user_role == LitellmUserRoles.PROXY_ADMIN
    assert "sk-master" not in repr(found)


async def test_a_refusal_is_what_litellm_shows_in_openais_format(worker: Worker) -> None:
    reader = Caller("k2", "mine", frozenset({"read"}))
    worker.use(table(entry("a"), **{KEY: reader}))
    auth = make_auth(worker, "sk-master")
    cases = [("", CHAT, "401"), ("so-other", CHAT, "401"), (KEY, CHAT, "403")]
    for key, path, status in cases:
        with pytest.raises(ProxyException) as refused:
            await auth(request(path), key)
        assert (refused.value.code, refused.value.param) == (status, "api_key")


async def test_a_revoked_key_is_refused_once_its_routes_are_in_use(worker: Worker) -> None:
    user = Caller("k1", "mine", frozenset({"infer"}))
    auth = make_auth(worker, None)
    worker.use(table(entry("a"), **{KEY: user}))
    await auth(request(), KEY)
    worker.use(table(entry("a"), generation=2))
    with pytest.raises(ProxyException):
        await auth(request(), KEY)


def test_deployments_are_added_replaced_and_removed_one_by_one(router: litellm.Router) -> None:
    deployments = Deployments()
    assert deployments.apply(table(entry("a"), entry("b")), router) == []
    kept = next(d for d in router.model_list if d["model_info"]["id"] == "a")
    changed = table(entry("a"), entry("b", "openai/gpt-4.1-nano"), entry("c"), generation=2)
    assert deployments.apply(changed, router) == []
    assert served(router) == {
        "a": "openai/gpt-4.1-mini",
        "b": "openai/gpt-4.1-nano",
        "c": "openai/gpt-4.1-mini",
    }
    # What did not change is not touched: its cooldowns and counts live on.
    assert next(d for d in router.model_list if d["model_info"]["id"] == "a") is kept
    assert deployments.apply(table(entry("a"), generation=3), router) == []
    assert set(served(router)) == {"a"}


def test_a_key_is_read_from_the_environment_and_never_written_down(
    router: litellm.Router,
) -> None:
    found = table(entry("c"))
    Deployments().apply(found, router)
    added = next(d for d in router.model_list if d["model_info"]["id"] == "c")
    assert added["litellm_params"]["api_key"] == "sk-from-the-environment"
    assert "sk-from" not in repr(found)


@pytest.mark.parametrize(
    "bad",
    [
        entry("bad", api_key="os.environ/SIGNALOPS_TEST_ABSENT"),
        {"model_name": "judge", "model_info": {"id": "bad"}},
        {**entry("bad"), "litellm_params": "none"},
    ],
    ids=["a variable that is not set", "no parameters", "parameters that are none"],
)
def test_one_bad_entry_is_named_and_the_others_are_served(
    router: litellm.Router, bad: dict[str, Any]
) -> None:
    assert Deployments().apply(table(entry("a"), bad, entry("z")), router) == ["bad"]
    assert {"a", "z"} <= set(served(router))


def test_an_entry_that_was_refused_is_tried_again_with_the_next_routes(
    router: litellm.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = entry("late", api_key="os.environ/SIGNALOPS_TEST_LATE")
    deployments = Deployments()
    assert deployments.apply(table(late), router) == ["late"]
    monkeypatch.setenv("SIGNALOPS_TEST_LATE", "sk-late")
    assert deployments.apply(table(late, generation=2), router) == []
    assert "late" in served(router)


async def test_before_anything_is_published_the_yamls_own_weights_decide(
    worker: Worker, environment: None
) -> None:
    canary = entry("b", weight=25)
    canary["model_info"]["arm"] = "canary"
    yaml = [resolve(entry("a", weight=75)), resolve(canary)]
    router = litellm.Router(model_list=yaml)
    handler = Handler(worker, lambda: router)
    sent = {"model": "judge", "user": "u", "messages": []}
    data = await handler.async_pre_call_hook(
        user_api_key_dict=None,
        cache=None,
        data={**sent, "proxy_server_request": {"body": sent}},
        call_type="acompletion",
    )
    assert data["metadata"]["signalops"]["headers"]["x-signalops-generation"] == "0"
    shares = {arm.name: arm.share_bp for arm in worker.table.groups["judge"].arms}
    assert shares == {"primary": 7_500, "canary": 2_500}


async def test_published_routes_are_taken_up_by_the_next_request(
    worker: Worker, router: litellm.Router, tmp_path: Path
) -> None:
    handler = Handler(worker, lambda: router)
    write_routes(tmp_path / FILE_NAME, table(entry("a"), entry("c"), generation=7))
    assert worker.look()
    data = await handler.async_pre_call_hook(
        user_api_key_dict=None, cache=None, data={"model": "judge"}, call_type="acompletion"
    )
    assert data["metadata"]["signalops"]["headers"]["x-signalops-generation"] == "7"
    assert "c" in served(router)
    assert worker.gauges.value("generation") == 7


async def test_routes_that_cannot_be_read_leave_the_last_ones_in_use(
    worker: Worker, router: litellm.Router, tmp_path: Path
) -> None:
    write_routes(tmp_path / FILE_NAME, table(entry("a"), generation=3))
    assert worker.look()
    worker.use(worker.pending or table())
    broken = tmp_path / "broken"
    broken.write_text('{"form": 1')
    broken.replace(tmp_path / FILE_NAME)
    assert not worker.look()
    assert worker.gauges.value("errors") == 1
    assert worker.table.generation == 3
