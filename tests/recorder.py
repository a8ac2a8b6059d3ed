"""How do LiteLLM's own dicts and objects look to our hooks? Record them anew.

    python -m tests.recorder

runs the whole stack with a further callback, the `handler` below, asks it on every surface,
whole and streamed, served, failed over and failed, and rewrites `tests/unit/payloads.json`.
To be run, and its difference read, whenever LiteLLM is upgraded.
"""

import json
import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from tests.e2e.calls import SURFACES
from tests.e2e.conftest import System, system_in
from tests.embedded import common_ground

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "tests" / "unit" / "payloads.json"
KEPT = ("model", "metadata", "litellm_metadata", "stream", "user")
NOTES = ("previous_models", "model_info", "signalops")
# Of the forty that LiteLLM writes beside them: enough to know a bucket of its own by.
IN_BODY = ("headers", "requester_metadata")
KEYS = ("user_api_key_auth",)
HIDDEN = ("model_id", "response_cost")
TEXT = "Is our site down?"
COOLED_S = 1.3  # the stack's cooldown_time is 1 s
SETTLED_S = 3.0  # until LiteLLM has logged the last call


def encode(value: object) -> Any:
    """Give an object as JSON from which `tests.payloads` makes one that looks like it."""
    if isinstance(value, bytes):
        return {"$bytes": value.decode()}
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        fields = {k: v for k, v in vars(value).items() if not k.startswith("_")}
        fields |= getattr(value, "__pydantic_extra__", None) or {}
        fields = {name: field for name, field in fields.items() if field is not None}
        notes = getattr(value, "_hidden_params", None)
        return {"$class": type(value).__name__, **encode(fields), **_hidden(notes)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _hidden(notes: object) -> dict[str, Any]:
    if not isinstance(notes, Mapping):
        return {}
    return {"_hidden_params": encode({k: notes[k] for k in HIDDEN if k in notes})}


def _data(data: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: data[key] for key in KEPT if key in data}
    for key in ("metadata", "litellm_metadata"):
        if isinstance(found.get(key), Mapping):
            found[key] = _only(NOTES, found[key])
    return dict(encode(found))


def _request(data: Mapping[str, Any]) -> dict[str, Any]:
    """Give what came, with LiteLLM's bucket in the body as far as it matters."""
    body = dict(data["proxy_server_request"]["body"])
    for key in ("metadata", "litellm_metadata"):
        if isinstance(body.get(key), Mapping):
            # The key's own object, of which only the class tells something here.
            named = {name: type(body[key][name]).__name__ for name in body[key] if name in KEYS}
            body[key] = _only(IN_BODY, body[key]) | named
    unit = {"x-signalops-unit": data["proxy_server_request"]["headers"]["x-signalops-unit"]}
    return {"body": encode(body), "headers": unit, "arrival_time": 1.0}


def _only(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: encode(values[name]) for name in names if name in values}


class Recorder(CustomLogger):
    """Writes down what each hook gets, under the name of the unit."""

    async def async_pre_call_hook(
        self, user_api_key_dict: object, cache: object, data: dict[str, Any], call_type: str
    ) -> None:
        found = _data(data) | {"proxy_server_request": _request(data)}
        self._keep(data, "asked", {"data": found, "call_type": call_type})

    async def async_post_call_success_hook(
        self, data: dict[str, Any], user_api_key_dict: object, response: object
    ) -> None:
        self._keep(data, "answered", {"data": _data(data), "response": encode(response)})

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: object, response: Any, request_data: dict[str, Any]
    ) -> AsyncIterator[object]:
        chunks = []
        async for chunk in response:
            chunks.append(encode(chunk))
            yield chunk
        stream = _hidden(getattr(response, "_hidden_params", None))
        found = {"data": _data(request_data), "chunks": chunks, "stream": stream}
        self._keep(request_data, "streamed", found)

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: object,
        traceback_str: str | None = None,
    ) -> None:
        names = ("status_code", "code", "failed_deployment_id")
        error = {name: encode(getattr(original_exception, name, None)) for name in names}
        error["$class"] = type(original_exception).__name__
        self._keep(request_data, "failed", {"data": _data(request_data), "error": error})

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: object, start_time: object, end_time: object
    ) -> None:
        params = kwargs["litellm_params"]
        account = {"model_id": (kwargs.get("standard_logging_object") or {}).get("model_id")}
        buckets = ("metadata", "litellm_metadata")
        kept = {key: _only(NOTES, params[key]) for key in buckets if params.get(key)}
        found = {
            "response_cost": kwargs.get("response_cost"),
            "standard_logging_object": account,
            "litellm_params": kept,
        }
        usage = encode(getattr(response_obj, "usage", None))
        self._keep(params, "logged", {"kwargs": found, "response": {"usage": usage}})

    def _keep(self, data: Mapping[str, Any], hook: str, found: dict[str, Any]) -> None:
        unit = data["proxy_server_request"]["headers"].get("x-signalops-unit", "")
        with Path(os.environ["RECORD_TO"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"unit": unit, "hook": hook, **found}) + "\n")


handler = Recorder()


def ask(system: System) -> None:
    """Ask everything that is to be recorded, each time as a unit of the canary."""
    for name, kind in {"served": None, "failed over": "500", "failed": "400"}.items():
        rate = {"error_rate": 0.0} if kind is None else {"error_rate": 1.0, "error_kind": kind}
        system.set_fault("bad", **rate)
        for surface, call in SURFACES.items():
            for stream in (False, True):
                scenario = f"{surface}, {'stream' if stream else 'whole'}, {name}"
                unit = _canary_unit(system, scenario)
                call(system.client(), "faulty", unit, stream=stream, text=TEXT)
                time.sleep(COOLED_S)


def _canary_unit(system: System, scenario: str) -> str:
    for number in range(100):
        unit = f"{scenario} #{number}"
        query = {"group": "faulty", "unit": unit}
        if system.admin.get("/v1/routes/explain", params=query).json()["arm"] == "canary":
            return unit
    message = f"no unit of {scenario!r} falls to the canary"
    raise LookupError(message)


def main() -> None:
    """Record, and replace what was recorded before."""
    with common_ground() as folder:
        raw = folder / "raw.jsonl"
        environment = {"RECORD_TO": str(raw), "PYTHONPATH": str(ROOT)}
        with system_in(folder, "tests.recorder.handler", workers=1, **environment) as system:
            ask(system)
            time.sleep(SETTLED_S)
        scenarios: dict[str, dict[str, Any]] = {}
        for line in raw.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            name, hook = found.pop("unit").partition(" #")[0], found.pop("hook")
            scenarios.setdefault(name, {})[hook] = found
    TARGET.write_text(json.dumps(scenarios, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
