"""What does the laboratory do with one request, and what can be changed while it runs?"""

import asyncio
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sidecar.core.errors import NotFound
from sidecar.up.laboratory import classifier, errors, wire
from sidecar.up.laboratory.answers import Turn
from sidecar.up.laboratory.dice import Dice, Occurrences, latency_s, throw
from sidecar.up.laboratory.faults import verdict
from sidecar.up.laboratory.judges import ClassifierJudge, Judge, draft, keyword_judge
from sidecar.up.laboratory.posts import Labelled, read_labelled
from sidecar.up.laboratory.seen import UNKNOWN, RequestLog
from sidecar.up.laboratory.settings import ModelBehaviour, changed, unique


@dataclass(frozen=True, slots=True)
class Fate:
    """What chance made of one call, decided before anything is answered."""

    behaviour: ModelBehaviour
    dice: Dice
    lasts_s: float
    fails: bool

    @property
    def cut(self) -> bool:
        """Whether the connection breaks in the middle of the answer."""
        return self.fails and self.behaviour.error_kind == "cut_stream"

    @property
    def hangs(self) -> bool:
        """Whether nothing comes for a long time."""
        return self.fails and self.behaviour.error_kind == "timeout"


class Judges:
    """Trained judges; each training file is read and learned from once."""

    def __init__(self) -> None:
        self._examples: dict[Path | None, tuple[Labelled, ...]] = {}
        self._classifiers: dict[Path | None, ClassifierJudge] = {}

    def build(self, behaviour: ModelBehaviour) -> Judge:
        """Train, or take what was trained; may take seconds, so not on the event loop.

        Raises:
            Invalid: The training file cannot be learned from.
        """
        path = behaviour.train_path
        if path not in self._examples:
            self._examples[path] = read_labelled(path)
        if behaviour.judge == "keyword":
            return keyword_judge(self._examples[path], behaviour.keywords)
        if path not in self._classifiers:
            self._classifiers[path] = ClassifierJudge(classifier.train(self._examples[path]))
        return self._classifiers[path]


@dataclass(slots=True)
class Laboratory:
    """The provider's state: its models, their judges, and what was asked so far."""

    initial: Sequence[ModelBehaviour]
    log: RequestLog
    now_s: Callable[[], float]  # seconds since 1970
    new_id: Callable[[], str]
    api_key: str | None = None  # None: any key is taken
    models: dict[str, ModelBehaviour] = field(default_factory=dict)
    _judges: dict[str, Judge] = field(default_factory=dict)
    _trained: Judges = field(default_factory=Judges)
    _occurrences: Occurrences = field(default_factory=Occurrences)
    _prefixes: set[tuple[str, str]] = field(default_factory=set)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def prepare(self) -> None:
        """Train all judges, so that the first request is as fast as the others.

        Raises:
            Invalid: Two models share a name, or a training file cannot be learned from.
        """
        models = {behaviour.name: behaviour for behaviour in unique(self.initial)}
        self._judges = {
            name: self._trained.build(behaviour)
            for name, behaviour in models.items()
            if behaviour.is_judge
        }
        self.models = models

    def receive(self, path: str, raw: bytes, authorization: str | None) -> dict[str, Any]:
        """Check the key and parse the body; whatever becomes of it, it is counted and kept.

        Raises:
            ApiError: 401 for a wrong key, 400 for a body that is not a request.
        """
        try:
            self.check_key(authorization)
            body = wire.parse(raw)
        except errors.ApiError:
            self.log.keep(path, None, raw)
            self.log.count(UNKNOWN, "requests")
            raise
        model = body["model"]
        self.log.keep(path, model, raw)
        self.log.count(model if model in self.models else UNKNOWN, "requests")
        return body

    def check_key(self, authorization: str | None) -> None:
        """Compare the bearer key with the one set, if one is set.

        Raises:
            ApiError: 401; it is missing or another one.
        """
        if self.api_key is None:
            return
        given = (authorization or "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.api_key.encode()):
            msg = "it is missing, or not the one this laboratory takes."
            raise errors.wrong_key(msg)

    def fate(self, model: str, digest: bytes, *, embeds: bool) -> Fate:
        """Find the model and throw its dice for what is asked.

        Raises:
            ApiError: 404; nobody has the model, or it does not serve this endpoint.
        """
        behaviour = self.models.get(model)
        if behaviour is None:
            raise errors.model_not_found(model, sorted(self.models))
        if (behaviour.judge == "embed") != embeds:
            message = f"The model {model!r} does not serve this endpoint."
            raise errors.ApiError(404, message, param="model")
        key = model.encode() + b"\n" + digest
        seen = self._occurrences.next(key)
        dice = throw(seed=behaviour.seed, model=model, content=digest, occurrence=seen)
        fails = dice.error < behaviour.error_rate
        self.log.count(model, f"fault_{behaviour.error_kind}" if fails else "answered")
        return Fate(behaviour, dice, latency_s(behaviour.latency_ms, dice.latency), fails)

    def turn(self, ask: wire.Ask, fate: Fate) -> Turn:
        """Let the model answer."""
        text = self._text(ask, fate)
        return Turn(
            id=self.new_id(),
            created_at_s=int(self.now_s()),
            model=fate.behaviour.answers_as,
            text=text,
            usage=self._usage(ask, text),
        )

    def behaviour(self, name: str) -> ModelBehaviour:
        """Return a model's present settings.

        Raises:
            NotFound: Nobody has that name.
        """
        try:
            return self.models[name]
        except KeyError:
            msg = f"model {name!r} does not exist; there are: {', '.join(sorted(self.models))}"
            raise NotFound(msg) from None

    async def change(self, name: str, changes: Mapping[str, Any]) -> ModelBehaviour:
        """Change some settings of a running model; calls under way keep the old ones.

        Raises:
            NotFound: Nobody has that name.
            Invalid: The settings, or their training file, are wrong; nothing changes.
        """
        async with self._changing:
            behaviour = changed(self.behaviour(name), changes)
            if behaviour.is_judge:
                judge = await asyncio.to_thread(self._trained.build, behaviour)
                self._judges[name] = judge
            self.models[name] = behaviour
        return behaviour

    async def reset(self) -> None:
        """Go back to the models of the start, and forget all requests."""
        async with self._changing:
            await asyncio.to_thread(self.prepare)
            self._occurrences.clear()
            self._prefixes.clear()
            self.log.clear()

    def _text(self, ask: wire.Ask, fate: Fate) -> str:
        match fate.behaviour.judge:
            case "echo":
                return ask.question
            case "draft":
                return draft(ask.question)
            case _:
                judge = self._judges[fate.behaviour.name]
                given = verdict(fate.behaviour, judge, ask.question, fate.dice)
                if given.malformed:
                    self.log.count(ask.model, "malformed")
                return given.text

    def _usage(self, ask: wire.Ask, text: str) -> wire.Usage:
        """Count tokens; a system prompt this model saw before counts as cached."""
        system_tokens = wire.tokens(ask.system)
        prefix = (ask.model, ask.system)
        cached = system_tokens if prefix in self._prefixes else 0
        if len(self._prefixes) < MAX_PREFIXES:
            self._prefixes.add(prefix)
        prompt = system_tokens + sum(wire.tokens(said) for _, said in ask.turns)
        return wire.Usage(prompt, cached, wire.tokens(text))


MAX_PREFIXES = 1000  # system prompts are few; whoever makes one a call gets no cache
