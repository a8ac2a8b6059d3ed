"""What of a batch's rows counts? Which are drawn for the audit, and their facts for totals."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import itemgetter

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.auditing import Design, drawn
from sidecar.core.calls import Outcome
from sidecar.core.facts import Facts
from sidecar.core.plan_reading import audit_of
from sidecar.core.tallies import Epoch
from sidecar.store import epochs
from sidecar.store.calls import COLUMNS, Row

_FACTS = (
    "experiment_id", "epoch", "stage", "assigned_arm", "unit_id", "unit_source", "outcome",
    "verdict_failure", "verdict_label", "verdict_confidence", "served_deployment",
    "prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd", "latency_ms", "ll",
    "ttft_ll", "audit_ppm", "is_drawn",
)  # fmt: skip
_DRAWN = ("audit_ppm", "is_drawn")
_facts_in = itemgetter(*(COLUMNS.index(name) for name in _FACTS))
_epoch_in = itemgetter(COLUMNS.index("experiment_id"), COLUMNS.index("epoch"))
_answer_in = itemgetter(
    *(COLUMNS.index(name) for name in ("outcome", "verdict_failure", "verdict_confidence"))
)
_DRAW = COLUMNS.index(_DRAWN[0])
_REST = _DRAW + len(_DRAWN)
if COLUMNS[_DRAW:_REST] != _DRAWN:
    msg = f"the columns {_DRAWN} of calls must stand together, found {COLUMNS[_DRAW:_REST]}"
    raise RuntimeError(msg)

_TOO_LATE = 2**31  # for an epoch's column
_SERVED = Outcome.SERVED.value


class Designs:
    """What the plans of the epochs seen so far say of single calls; a plan never changes."""

    def __init__(self) -> None:
        self._known: dict[Epoch, Design] = {}
        self._slow_ms: dict[Epoch, float | None] = {}

    @property
    def slow_ms(self) -> Mapping[Epoch, float | None]:
        """What counts as slow, by epoch; None where the plan does not say."""
        return self._slow_ms

    async def learn(self, tx: AsyncConnection, rows: Iterable[Row]) -> None:
        """Fetch what the plans of the rows' epochs say, those that are not known yet."""
        wanted = {_epoch_in(row) for row in rows} - self._known.keys()
        # What a line says may be anything; whether it becomes a row is still to be seen.
        wanted = {epoch for epoch in wanted if _is_epoch(*epoch)}
        if wanted:
            for epoch, plan in (await epochs.plans(tx, wanted)).items():
                self._known[epoch] = Design(audit_of(plan), salt=epoch[0])
                self._slow_ms[epoch] = plan.get("slow_ms")

    def draw(self, row: Row) -> Row:
        """Say in a row with which probability it was drawn for the audit, and whether it was.

        Only calls whose answer could be read are in the design.
        """
        design = self._known.get(_epoch_in(row))
        outcome, failure, confidence = _answer_in(row)
        if design is None or outcome != _SERVED or failure is not None:
            return row
        return row[:_DRAW] + drawn(design, str(row[0]), confidence) + row[_REST:]


def _is_epoch(experiment_id: object, epoch: object) -> bool:
    if not (isinstance(experiment_id, str) and experiment_id.isprintable()):
        return False
    return isinstance(epoch, int) and 0 < epoch < _TOO_LATE


def facts_of(rows: Collection[Row]) -> Sequence[Facts]:
    """Give what counts of the rows that are in an experiment."""
    return [
        Facts._make((*values, None, (), False)) for values in map(_facts_in, rows) if values[0]
    ]
