"""How does each model of the laboratory behave?

A model is data: which judge answers, how slowly, and how often what goes wrong. The same
fields come from a JSON file at the start and from `PATCH /lab/models/{name}` later.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from sidecar.core.errors import Invalid

JudgeKind = Literal["keyword", "classifier", "draft", "echo", "embed"]
ErrorKind = Literal["500", "429", "400", "401", "timeout", "cut_stream"]
MalformedKind = Literal["prose", "truncated", "foreign_label", "confidence_range"]

Rate = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[!-~]+$")]


def _number_as_text(value: object) -> object:
    """Take the status 500 for the kind "500": in JSON both are natural."""
    is_status = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_status else value


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Latency(_Data):
    """A lognormal time to the whole answer, in milliseconds."""

    median: float = Field(default=0, ge=0, le=600_000)
    p95: float | None = Field(default=None, ge=0, le=600_000)  # None: always the median

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.p95 is None or self.p95 == self.median or 0 < self.median < self.p95:
            return self
        msg = (
            f"p95 ({self.p95:g}) must be at least the median ({self.median:g}), and equal if 0"
        )
        raise ValueError(msg)


class ModelBehaviour(_Data):
    """One model: what it answers, how fast, and what goes wrong how often.

    All rates are probabilities of one call. Whether it goes wrong is decided by `dice`.
    """

    name: Name
    judge: JudgeKind
    train_path: Path | None = None  # None: our own posts' training half
    keywords: dict[str, tuple[str, ...]] | None = None  # None: taken from the training file
    latency_ms: Latency = Latency()
    error_rate: Rate = 0
    error_kind: Annotated[ErrorKind, BeforeValidator(_number_as_text)] = "500"
    hang_s: float = Field(default=30, ge=0, le=3600)
    retry_after_s: int = Field(default=1, ge=0, le=3600)
    malformed_rate: Rate = 0
    malformed_kinds: tuple[MalformedKind, ...] = Field(
        default=("prose", "truncated", "foreign_label", "confidence_range"), min_length=1
    )
    fence_rate: Rate = 0
    accuracy_noise: Rate = 0
    seed: int = 0
    reported_model: Name | None = None  # the provider's dated name; None: `name`

    @property
    def answers_as(self) -> str:
        """The model name in every answer, as a provider resolves an alias to a dated model."""
        return self.reported_model or self.name

    @property
    def is_judge(self) -> bool:
        """Whether its answer is a label with a confidence and a reasoning."""
        return self.judge in {"keyword", "classifier"}

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        spoiled = {
            key: rate
            for key in ("malformed_rate", "fence_rate", "accuracy_noise")
            if (rate := getattr(self, key)) > 0
        }
        if spoiled and not self.is_judge:
            msg = f"{sorted(spoiled)} need judge 'keyword' or 'classifier', not {self.judge!r}"
            raise ValueError(msg)
        if self.keywords is not None and self.judge != "keyword":
            msg = f"keywords need judge 'keyword', not {self.judge!r}"
            raise ValueError(msg)
        if self.keywords is not None and not any(self.keywords.values()):
            msg = "keywords must name a word for at least one label"
            raise ValueError(msg)
        return self


def parse_behaviour(raw: Mapping[str, Any]) -> ModelBehaviour:
    """Check one model's settings.

    Raises:
        Invalid: Naming each wrong field, what was found and what is possible.
    """
    try:
        return ModelBehaviour.model_validate(raw)
    except ValidationError as error:
        raise Invalid(_sentence(error)) from error


def changed(behaviour: ModelBehaviour, changes: Mapping[str, Any]) -> ModelBehaviour:
    """Replace some settings of a model, and check the whole again.

    Raises:
        Invalid: The result is not a valid behaviour, or `changes` renames the model.
    """
    if changes.get("name", behaviour.name) != behaviour.name:
        msg = f"the name of model {behaviour.name!r} cannot be changed while it runs"
        raise Invalid(msg)
    return parse_behaviour({**behaviour.model_dump(), **changes})


def load_behaviours(path: Path) -> tuple[ModelBehaviour, ...]:
    """Read models from a JSON file: a list of behaviours, or `{"models": [...]}`.

    A relative `train_path` is taken from the folder of the file.

    Raises:
        Invalid: The file cannot be read, is not of that shape, or names a model twice.
    """
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        msg = f"models file {str(path)!r} cannot be read: {error}"
        raise Invalid(msg) from error
    rows = content.get("models") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        msg = f"models file {str(path)!r} must hold a list of objects"
        raise Invalid(msg)
    return unique(tuple(_of_file(parse_behaviour(row), path.parent) for row in rows))


def unique(behaviours: Sequence[ModelBehaviour]) -> tuple[ModelBehaviour, ...]:
    """Return the behaviours, of which each must have a name of its own.

    Raises:
        Invalid: There is none, or two share a name.
    """
    names = [behaviour.name for behaviour in behaviours]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names:
        msg = "at least one model is needed, found no models"
        raise Invalid(msg)
    if twice:
        msg = f"each model needs a name of its own, found {twice} twice"
        raise Invalid(msg)
    return tuple(behaviours)


def default_behaviours() -> tuple[ModelBehaviour, ...]:
    """Return the demo's models: three judges, a drafter, an echo and an embedder."""
    tuned = ModelBehaviour(
        name="lab-judge-tuned",
        judge="classifier",
        latency_ms=Latency(median=70, p95=150),
        reported_model="lab-judge-tuned-2026-09-01",
    )
    fine_tuned = "ft:gpt-4o-mini-2024-07-18:signalops::lab1"
    return (
        ModelBehaviour(
            name="lab-judge-small",
            judge="keyword",
            latency_ms=Latency(median=40, p95=90),
            malformed_rate=0.02,
            fence_rate=0.05,
            reported_model="lab-judge-small-2026-06-01",
        ),
        tuned,
        tuned.model_copy(update={"name": fine_tuned, "reported_model": fine_tuned}),
        tuned.model_copy(
            update={"name": "lab-judge-next", "error_rate": 0.5, "reported_model": None}
        ),
        ModelBehaviour(
            name="lab-drafter",
            judge="draft",
            latency_ms=Latency(median=120, p95=300),
            reported_model="lab-drafter-2026-06-01",
        ),
        ModelBehaviour(name="lab-echo", judge="echo"),
        ModelBehaviour(name="lab-embed", judge="embed", latency_ms=Latency(median=5, p95=15)),
    )


def _of_file(behaviour: ModelBehaviour, folder: Path) -> ModelBehaviour:
    if behaviour.train_path is None:
        return behaviour
    return behaviour.model_copy(update={"train_path": folder / behaviour.train_path})


def _sentence(error: ValidationError) -> str:
    """Say in one line what pydantic found."""
    parts = []
    for one in error.errors(include_url=False):
        where = ".".join(str(step) for step in one["loc"]) or "model"
        is_leaf = isinstance(one["input"], str | int | float)
        found = f" (found {str(one['input'])[:80]!r})" if is_leaf else ""
        parts.append(f"{where}: {one['msg']}{found}")
    return "; ".join(parts)
