"""What do an experiment's calls add up to? One statement, so that all numbers agree."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import RowMapping, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.results import Percentiles, Summary
from sidecar.core.routing import UnitSource
from sidecar.store.tables import generations

TOTAL = 0  # in place of a stage's number, which counts from 1

# The first query measures arms and arms within stages; the second counts what comes in
# kinds. Both in one statement see the same calls, while more arrive.
_SUMMARIES = text(
    """
    WITH measured AS (
        SELECT CASE WHEN grouping(stage) = 1 THEN :total ELSE stage END AS stage,
            assigned_arm AS arm,
            count(*) AS calls,
            count(DISTINCT unit_id) AS units,
            count(DISTINCT unit_id) FILTER (WHERE unit_source <> :not_sticky) AS sticky_units,
            percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY latency_ms)
                AS latency_ms,
            percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY ttft_ms) AS ttft_ms,
            CAST(sum(prompt_tokens) AS bigint) AS prompt_tokens,
            CAST(sum(completion_tokens) AS bigint) AS completion_tokens,
            CAST(sum(cached_tokens) AS bigint) AS cached_tokens,
            sum(cost_usd) AS cost_usd,
            count(*) FILTER (WHERE cost_usd IS NULL) AS calls_of_unknown_cost
        FROM calls WHERE experiment_id = :experiment_id AND epoch = :epoch
        GROUP BY GROUPING SETS ((stage, assigned_arm), (assigned_arm))
    ), kinds AS MATERIALIZED (
        SELECT stage, assigned_arm AS arm, outcome, verdict_label, verdict_failure,
            served_deployment, count(*) AS calls
        FROM calls WHERE experiment_id = :experiment_id AND epoch = :epoch
        GROUP BY stage, assigned_arm, outcome, verdict_label, verdict_failure,
            served_deployment
    )
    SELECT measured.*, (
        SELECT jsonb_agg(jsonb_build_array(outcome, verdict_label, verdict_failure,
            served_deployment, kinds.calls))
        FROM kinds
        WHERE kinds.arm = measured.arm AND measured.stage IN (kinds.stage, :total)
    ) AS kinds
    FROM measured
    """
)
_KINDS = ("outcomes", "labels", "verdict_failures", "served_by")


async def summaries(
    tx: AsyncConnection, experiment_id: str, epoch: int
) -> dict[tuple[int, str], Summary]:
    """Sum up an experiment's calls by stage and arm, and by arm under the stage `TOTAL`.

    An arm without calls is absent.
    """
    values = {
        "experiment_id": experiment_id,
        "epoch": epoch,
        "total": TOTAL,
        "not_sticky": UnitSource.CALL.value,
    }
    found = (await tx.execute(_SUMMARIES, values)).mappings()
    return {(int(row["stage"]), str(row["arm"])): _summary(row) for row in found}


async def generation(tx: AsyncConnection) -> int | None:
    """Tell the number of the routing table published last; None when none was."""
    found = await tx.execute(select(func.max(generations.c.number)))
    number = found.scalar_one()
    return None if number is None else int(number)


def _summary(row: RowMapping) -> Summary:
    names = set(Summary.__slots__) - set(_KINDS) - {"latency_ms", "ttft_ms"}
    measured = Summary(
        **{name: row[name] for name in names},
        latency_ms=Percentiles(*(row["latency_ms"] or ())),
        ttft_ms=Percentiles(*(row["ttft_ms"] or ())),
    )
    return replace(measured, **_by_kind(row["kinds"]))


def _by_kind(kinds: Iterable[list[Any]]) -> Mapping[str, Any]:
    """Count calls by each of the kinds; a call that has none of one counts for no other."""
    counts: tuple[Counter[str], ...] = tuple(Counter() for _ in _KINDS)
    for *values, calls in kinds:
        for counter, value in zip(counts, values, strict=True):
            if value is not None:
                counter[value] += calls
    return {name: dict(sorted(c.items())) for name, c in zip(_KINDS, counts, strict=True)}
