"""Is the recorded body the client's, and not what LiteLLM made of it on the way?"""

from typing import Any

import orjson
import pytest

from callbacks.payload.request import read_request
from tests.payloads import scenario

CLIENTS = {"model", "messages", "input", "stream", "max_tokens"}
SENT = {"model": "judge", "messages": [], "metadata": {"unit_id": "u-1", "source": "forum"}}


def bucket(**client: Any) -> dict[str, Any]:
    """What LiteLLM has made of its bucket when the pre-call hook runs."""
    headers = {"host": "proxy", "user-agent": "OpenAI/Python"}
    added = {"headers": headers, "used_client_oauth_token": False}
    return {
        **client,
        **added,
        "requester_metadata": {**client, **added},
        "user_api_key_auth": object(),  # not JSON, as LiteLLM's own
    }


def read(body: Any, call_type: str = "acompletion") -> Any:
    return read_request({"model": "judge", "proxy_server_request": {"body": body}}, call_type)


@pytest.mark.parametrize("surface", ["chat", "responses", "messages"])
@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_on_every_surface_only_what_the_client_sent_is_in_the_body(
    surface: str, kind: str
) -> None:
    asked = scenario(surface, kind, "served")["asked"]
    found = read_request(asked["data"], asked["call_type"])
    assert set(found.body) <= CLIENTS
    assert found.body["model"] == asked["data"]["model"]
    assert found.metadata == {}


def test_a_clients_metadata_is_kept_without_what_litellm_added() -> None:
    asked = read({**SENT, "metadata": bucket(**SENT["metadata"])})
    assert asked.body == SENT
    assert asked.metadata == SENT["metadata"]


def test_a_body_is_json_although_litellms_bucket_is_not() -> None:
    asked = read({**SENT, "metadata": bucket()})
    assert orjson.loads(orjson.dumps(asked.body)) == {"model": "judge", "messages": []}


def test_where_litellm_has_a_bucket_of_its_own_name_the_metadata_is_the_clients() -> None:
    asked = read({**SENT, "litellm_metadata": bucket()}, "aresponses")
    assert asked.body == SENT
    assert asked.metadata == SENT["metadata"]


def test_reading_a_body_leaves_litellms_alone() -> None:
    body = {**SENT, "metadata": bucket(unit_id="u-1")}
    read(body)
    assert "user_api_key_auth" in body["metadata"]


@pytest.mark.parametrize("body", [None, 7, [], "text"])
def test_a_body_that_is_no_object_is_read_as_empty(body: object) -> None:
    assert read(body).body == {}
