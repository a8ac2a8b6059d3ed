"""How is an answer spoiled on purpose: its text, or its way to the client?"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sidecar.up.laboratory.dice import Dice, pick
from sidecar.up.laboratory.judges import Judge, Opinion
from sidecar.up.laboratory.settings import MalformedKind, ModelBehaviour

FIRST_EVENT_SHARE = 0.4  # of a stream's time passes before its first event, as with real ones
_SHORTEST_SLEEP_S = 0.001  # below this a sleep costs more than it waits
_FOREIGN_LABELS = ("unsure", "other", "n/a", "spam")


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's answer as text, and whether it was spoiled."""

    text: str
    malformed: bool


def verdict(behaviour: ModelBehaviour, judge: Judge, question: str, dice: Dice) -> Verdict:
    """Let a judge answer a question, in JSON, or in what chance makes of it."""
    opinion = _noisy(behaviour, judge, judge.judge(question), dice)
    if dice.malformed < behaviour.malformed_rate:
        kinds = behaviour.malformed_kinds
        kind = kinds[pick(len(kinds), dice.malformed_kind)]
        return Verdict(_malformed(kind, opinion, judge.labels, dice), malformed=True)
    text = _json(opinion.label, opinion.confidence, opinion.reasoning)
    fenced = dice.fence < behaviour.fence_rate
    return Verdict(f"```json\n{text}\n```" if fenced else text, malformed=False)


def _noisy(behaviour: ModelBehaviour, judge: Judge, opinion: Opinion, dice: Dice) -> Opinion:
    """Replace the label by another, with the model's `accuracy_noise` as the probability."""
    others = [label for label in judge.labels if label != opinion.label]
    if dice.noise >= behaviour.accuracy_noise or not others:
        return opinion
    label = others[pick(len(others), dice.noise_label)]
    return Opinion(label, opinion.confidence, opinion.reasoning)


def _malformed(kind: MalformedKind, opinion: Opinion, labels: Sequence[str], dice: Dice) -> str:
    """Answer, but not with the JSON that was asked for."""
    whole = _json(opinion.label, opinion.confidence, opinion.reasoning)
    match kind:
        case "prose":
            return f"I would say this post is {opinion.label}. {opinion.reasoning}"
        case "truncated":
            return whole[: len(whole) // 4 + pick(len(whole) // 2, dice.wording)]
        case "foreign_label":
            foreign = [label for label in _FOREIGN_LABELS if label not in labels]
            foreign = foreign or [f"{opinion.label}?"]
            label = foreign[pick(len(foreign), dice.wording)]
            return _json(label, opinion.confidence, opinion.reasoning)
        case "confidence_range":
            confidence = (round(opinion.confidence * 100, 1) + 1.5, -0.2)[pick(2, dice.wording)]
            return _json(opinion.label, confidence, opinion.reasoning)


def _json(label: str, confidence: float, reasoning: str) -> str:
    fields = {"label": label, "confidence": confidence, "reasoning": reasoning}
    return orjson.dumps(fields).decode()


class Cut(Response):
    """Announces a whole body, sends half of it and lets the connection break."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send half; returning before the end makes the server close the connection."""
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **head})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})


class EventStream(Response):
    """Sends server-sent events spread over a time; may break off in the middle."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: Iterator[bytes],
        *,
        lasts_s: float,
        cut: bool,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(headers={**headers, "cache-control": "no-cache"})
        del self.headers["content-length"]  # unknown: the body is sent in chunks
        self._events = tuple(events)
        self._lasts_s = lasts_s
        self._cut = cut

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send each event when it is due."""
        clock = asyncio.get_running_loop().time
        started_at = clock()
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **head})
        for due_s, event in self._schedule():
            wait_s = started_at + due_s - clock()
            if wait_s > _SHORTEST_SLEEP_S:
                await asyncio.sleep(wait_s)
            await send({"type": "http.response.body", "body": event, "more_body": True})
        if not self._cut:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _schedule(self) -> Sequence[tuple[float, bytes]]:
        """Give each event its time in seconds after the headers; a cut stream has half."""
        first_s = self._lasts_s * FIRST_EVENT_SHARE
        step_s = (self._lasts_s - first_s) / max(len(self._events) - 1, 1)
        sent = self._events[: len(self._events) // 2] if self._cut else self._events
        return [(first_s + step_s * number, event) for number, event in enumerate(sent)]
