"""Does this JSON describe a plan that can be kept? Strict construction of a `Plan`.

What is left out has its default; what is there must make sense, alone and with the rest.
"""

import re
from collections.abc import Mapping
from itertools import pairwise

from sidecar.core.assignment import BUCKETS, PRIMARY
from sidecar.core.errors import Invalid
from sidecar.core.fields import Fields, Span, refuse, shown
from sidecar.core.plan import (
    DAY_S,
    DEFAULT_MAX_RATIO,
    DEFAULT_RAMP,
    HALF_AN_HOUR_S,
    Audit,
    Goal,
    Guard,
    Guardrail,
    Holdback,
    Horizon,
    InconclusiveAction,
    Kind,
    Mode,
    Objective,
    Plan,
    Step,
    Weighting,
    to_document,
)
from sidecar.core.routing import Task, UnitSource
from sidecar.core.verdicts import DEFAULT_LABELS

KEYS = tuple(to_document(Plan()))
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_ERROR_RATE = Span(0, 0.5, is_open=True)
_SECONDS = Span(0, 366 * DAY_S)
_MORE_SECONDS = Span(0, 366 * DAY_S, is_open=True)
_SHARE = Span(0, 1, is_open=True, ends_open=True)
_COUNT = Span(1, 10**9)
_MAX_MARGIN = 0.5  # of a boolean metric: half of all answers worse is no small loss
_COST_MARGIN = 0.10
_GRID = 1e-9  # a share is a whole number of basis points up to float noise


def plan_from(document: object) -> Plan:
    """Read a plan.

    Args:
        document: A JSON object; `{}` is the default plan of a judge.

    Raises:
        Invalid: An unknown key, a wrong type, a value that makes no sense, or values that
            contradict each other. The message says what was found, expected and possible.
    """
    fields = Fields(document, where="plan", known=KEYS)
    task = fields.choice("task", Task.JUDGE)
    audit = _audit(fields)
    slow_ms = None
    if fields.get("slow_ms") is not None:
        slow_ms = fields.number("slow_ms", 0, Span(0, 1e9, is_open=True))
    plan = Plan(
        task=task,
        goal=_goal(fields, task),
        guardrails=_guardrails(fields, task, audit, slow_ms),
        labels=_labels(fields, task),
        unit=None if fields.get("unit") is None else fields.choice("unit", UnitSource.CALL),
        canaries=_canaries(fields),
        slow_ms=slow_ms,
        ramp=_ramp(fields),
        alpha=fields.number("alpha", Plan().alpha, _ERROR_RATE),
        guardrail_alpha=fields.number("guardrail_alpha", Plan().guardrail_alpha, _ERROR_RATE),
        horizon_look=fields.flag("horizon_look", default=True),
        horizon=_horizon(fields),
        min_duration_s=fields.number("min_duration_s", Plan().min_duration_s, _SECONDS),
        mode=fields.choice("mode", Mode.ADVISE),
        audit=audit,
        breaker_failures=_breaker(fields),
        holdback=_holdback(fields),
        inconclusive_action=fields.choice(
            "inconclusive_action", InconclusiveAction.KEEP_PRIMARY
        ),
        grace_s=fields.number("grace_s", Plan().grace_s, _MORE_SECONDS),
    )
    _check_together(plan)
    return plan


def audit_of(document: Mapping[str, object]) -> Audit:
    """Read of a stored plan only how calls are drawn: the drain must go on by any plan.

    Raises:
        Invalid: What it says of the audit makes no sense.
    """
    return _audit(
        Fields({"audit": document.get("audit") or {}}, where="plan", known=("audit",))
    )


def _goal(fields: Fields, task: Task) -> Goal:
    usual = {Task.JUDGE: "agreement", Task.DRAFT: "approved"}.get(task)
    document = fields.get("goal", {} if usual else None)
    keys = ("metric", "kind", "objective", "margin", "mde")
    goal = Fields(document, where="plan.goal", known=keys)
    metric = goal.get("metric", usual)
    if not isinstance(metric, str) or not _NAME.fullmatch(metric):
        refuse(goal.path("metric"), metric, "the name of a metric, as 'agreement'")
    kind = _kind(goal, metric)
    if metric == "agreement" and task is not Task.JUDGE:
        refuse(goal.path("metric"), metric, f"a feedback's name: the task is {task!s}")
    objective = goal.choice("objective", Objective.NON_INFERIORITY)
    is_margin = objective is Objective.NON_INFERIORITY
    mine, other = ("margin", "mde") if is_margin else ("mde", "margin")
    if other in goal:
        msg = f"{goal.path(other)} does not belong to {objective!s}; it has '{mine}'"
        raise Invalid(msg)
    if mine not in goal and (kind is Kind.FLOAT or not is_margin):
        refuse(goal.path(mine), None, "a number above 0, in the metric's own unit")
    most = _MAX_MARGIN if kind is Kind.BOOLEAN else 1e9
    effect = goal.number(mine, Goal().effect, Span(0, most, is_open=True))
    return Goal(metric, kind, objective, effect)


def _kind(goal: Fields, metric: str) -> Kind:
    """Find out what the metric's values are; a name that is not built in must say."""
    if metric in ("agreement", "approved"):
        kind = goal.choice("kind", Kind.BOOLEAN)
        if kind is not Kind.BOOLEAN:
            refuse(goal.path("kind"), str(kind), f"'boolean', which {metric} is")
        return kind
    if "kind" not in goal:
        msg = (
            f"{goal.path('metric')} is {shown(metric)}, which is unknown; it can be "
            "'agreement', 'approved', or any feedback's name with kind 'boolean' or 'float'"
        )
        raise Invalid(msg)
    return goal.choice("kind", Kind.BOOLEAN)


def _guardrails(
    fields: Fields, task: Task, audit: Audit, slow_ms: float | None
) -> tuple[Guardrail, ...]:
    # Under `uncertain` an arm that is less sure of itself is audited more, so its
    # disagreements are counted more often: the count test would take that for harm.
    is_countable = task is Task.JUDGE and audit.weighting is Weighting.UNIFORM
    if "guardrails" not in fields:
        usual = {
            Guard.BAD_RATE: True,
            Guard.SLOW_SHARE: slow_ms is not None,
            Guard.DISAGREEMENTS: is_countable,
        }
        return tuple(Guardrail(g, DEFAULT_MAX_RATIO) for g, holds in usual.items() if holds)
    found = tuple(
        _guardrail(item, f"plan.guardrails[{i}]")
        for i, item in enumerate(fields.items("guardrails"))
    )
    metrics = [guardrail.metric for guardrail in found]
    if len(set(metrics)) < len(metrics):
        refuse("plan.guardrails", [str(m) for m in metrics], "each metric once")
    if Guard.SLOW_SHARE in metrics and slow_ms is None:
        refuse("plan.slow_ms", None, "a number of ms, for the guardrail slow_share")
    if Guard.DISAGREEMENTS in metrics and not is_countable:
        msg = "plan.guardrails has disagreements, which needs a judge and a uniform audit"
        raise Invalid(msg)
    return found


def _guardrail(document: object, where: str) -> Guardrail:
    fields = Fields(document, where=where, known=("metric", "max_ratio", "margin"))
    if "metric" not in fields:
        words = ", ".join(repr(str(guard)) for guard in Guard)
        refuse(fields.path("metric"), None, f"one of {words}")
    metric = fields.choice("metric", Guard.BAD_RATE)
    is_cost = metric is Guard.COST
    mine, other = ("margin", "max_ratio") if is_cost else ("max_ratio", "margin")
    if other in fields:
        msg = f"{fields.path(other)} does not belong to {metric!s}; it has '{mine}'"
        raise Invalid(msg)
    if is_cost:
        return Guardrail(metric, fields.number(mine, _COST_MARGIN, Span(0, 10, is_open=True)))
    return Guardrail(metric, fields.number(mine, DEFAULT_MAX_RATIO, Span(1, 20)))


def _labels(fields: Fields, task: Task) -> tuple[str, ...]:
    if task is not Task.JUDGE:
        if fields.get("labels"):
            refuse("plan.labels", fields.get("labels"), "none: the task is no judge's")
        return ()
    labels = fields.items("labels") if "labels" in fields else DEFAULT_LABELS
    words = tuple(str(label) for label in labels)
    is_odd = not all(isinstance(label, str) and label.strip() for label in labels)
    different = {word.strip().casefold() for word in words}
    # One label leaves nothing to agree on, but the YAML may have such a judge.
    if is_odd or len(different) < len(words) or not words:
        expected = "at least 1 label, each a word, different whatever their case"
        refuse("plan.labels", fields.get("labels"), expected)
    return words


def _canaries(fields: Fields) -> tuple[str, ...]:
    names = fields.items("canaries") if "canaries" in fields else Plan().canaries
    words = tuple(name for name in names if isinstance(name, str) and _NAME.fullmatch(name))
    is_odd = len(words) < len(names) or len(set(words)) < len(words) or PRIMARY in words
    if is_odd or not words:
        expected = "different names of arms (letters, digits, '-', '_'), 'primary' not among"
        refuse("plan.canaries", fields.get("canaries"), f"{expected} them")
    return words


def _ramp(fields: Fields) -> tuple[Step, ...]:
    if "ramp" not in fields:
        return DEFAULT_RAMP
    items = fields.items("ramp")
    if not items:
        refuse("plan.ramp", [], "at least one step, as {'share': 0.05}")
    steps = tuple(_step(item, i) for i, item in enumerate(items))
    shares = [step.share_bp for step in steps]
    if any(later <= earlier for earlier, later in pairwise(shares)):
        refuse(
            "plan.ramp", [bp / BUCKETS for bp in shares], "shares that rise from step to step"
        )
    return steps


def _step(document: object, index: int) -> Step:
    keys = ("share", "min_units", "min_time_s")
    fields = Fields(document, where=f"plan.ramp[{index}]", known=keys)
    if "share" not in fields:
        refuse(fields.path("share"), None, f"a number {_SHARE}")
    usual = DEFAULT_RAMP[min(index, len(DEFAULT_RAMP) - 1)]
    return Step(
        _bp(fields, 0, _SHARE),
        fields.integer("min_units", usual.min_units, _COUNT),
        fields.number("min_time_s", HALF_AN_HOUR_S, _SECONDS),
    )


def _bp(fields: Fields, default_bp: int, span: Span) -> int:
    """Read a share as basis points, which assignment knows nothing finer than."""
    share = fields.number("share", default_bp / BUCKETS, span)
    bp = round(share * BUCKETS)
    if abs(share * BUCKETS - bp) > _GRID * BUCKETS or bp / BUCKETS not in span:
        refuse(fields.path("share"), share, f"a multiple of {1 / BUCKETS}, {span}")
    return bp


def _horizon(fields: Fields) -> Horizon:
    keys = ("max_duration_s", "max_labelled")
    horizon = Fields(fields.get("horizon", {}), where="plan.horizon", known=keys)
    usual = Horizon()
    duration = usual.max_duration_s
    if horizon.is_null("max_duration_s"):
        duration = None
    elif duration is not None:
        duration = horizon.number("max_duration_s", duration, _MORE_SECONDS)
    labelled = None
    if horizon.get("max_labelled") is not None:
        labelled = horizon.integer("max_labelled", 1, _COUNT)
    if duration is None and labelled is None:
        refuse("plan.horizon", {}, "max_duration_s, max_labelled or both")
    return Horizon(duration, labelled)


def _audit(fields: Fields) -> Audit:
    keys = ("rate", "weighting", "floor")
    audit = Fields(fields.get("audit", {}), where="plan.audit", known=keys)
    usual = Audit()
    rate = audit.number("rate", usual.rate, Span(0.0001, 1))
    floor = audit.number("floor", min(usual.floor, rate), Span(0.0001, rate))
    return Audit(rate, audit.choice("weighting", usual.weighting), floor)


def _breaker(fields: Fields) -> int | None:
    if fields.is_null("breaker"):
        return None
    keys = ("consecutive_failures",)
    breaker = Fields(fields.get("breaker", {}), where="plan.breaker", known=keys)
    return breaker.integer("consecutive_failures", 5, Span(1, 10_000))


def _holdback(fields: Fields) -> Holdback:
    keys = ("share", "hours")
    holdback = Fields(fields.get("holdback", {}), where="plan.holdback", known=keys)
    share_bp = _bp(holdback, Holdback().share_bp, Span(0, 0.2))
    return Holdback(share_bp, holdback.number("hours", Holdback().hours, Span(0, 24 * 366)))


def _check_together(plan: Plan) -> None:
    """Refuse values that are right alone and wrong together."""
    if len(plan.canaries) > 1 and plan.mode is not Mode.ADVISE:
        expected = f"'advise', for there are {len(plan.canaries)} canaries and one ramp"
        refuse("plan.mode", str(plan.mode), expected)
    longest = plan.horizon.max_duration_s
    needed = max(plan.min_duration_s, sum(step.min_time_s for step in plan.ramp))
    if longest is not None and longest < needed:
        expected = f"at least {needed:g}: min_duration_s, and all steps of the ramp, fit in it"
        refuse("plan.horizon.max_duration_s", longest, expected)
