"""Do an experiment's totals follow from its rows? The same sums again, from the beginning.

Each name means here what it means in `core.totals`, to the last digit: everything summed is a
whole number, and what is no whole number in a row has its logarithm or probability stored.
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.store.feedback import SAID, SAID_VALUES

_PATIENCE = "1h"  # a recount reads every call of an epoch: ten millions take a quarter of it

_MINE = f"""
    said AS ({SAID.format(only="")}),
    said_values AS ({SAID_VALUES.format(only="")}),
    judged AS (
        SELECT calls.*, said.human, coalesce(said.is_corrected, false) AS is_corrected,
            outcome = 'served' AND verdict_failure IS NULL AS is_ok,
            coalesce(latency_ms > CAST(plan ->> 'slow_ms' AS double precision), false)
                AS is_slow,
            CASE WHEN cost_usd BETWEEN 0 AND 1e6 THEN CAST(cost_usd * 1e9 AS bigint) END
                AS nano,
            coalesce(CAST(verdict_confidence * 1e4 AS bigint), 5000) AS f,
            CASE WHEN unit_source = 'call' THEN call_id END AS alone
        FROM calls LEFT JOIN said USING (call_id) LEFT JOIN epochs USING (experiment_id, epoch)
        WHERE experiment_id = :experiment_id AND epoch = :epoch
    ),
    mine AS MATERIALIZED (
        SELECT call_id, stage, assigned_arm AS arm, unit_id, unit_source, alone, outcome,
            verdict_failure, verdict_label, served_deployment, prompt_tokens,
            completion_tokens, cached_tokens, human, is_corrected, is_ok, is_slow, nano, f, ll,
            (CAST(ll AS bigint) * 1000000 + 39220713153000) / 39220713153 - 1000 AS latency,
            (CAST(ttft_ll AS bigint) * 1000000 + 39220713153000) / 39220713153 - 1000 AS ttft,
            is_ok AND audit_ppm > 0 AS is_designed,
            is_ok AND audit_ppm > 0 AND is_drawn AS is_drawn,
            is_ok AND audit_ppm > 0 AND is_drawn AND human IS NOT NULL
                AND verdict_label IS NOT NULL AS is_labelled,
            CAST((1000000000000 + audit_ppm / 2) / nullif(audit_ppm, 0) AS numeric) AS w,
            CAST(human = verdict_label AS int) AS y
        FROM judged
    )"""  # noqa: S608 - made of strings of ours

_UNITS = """
    units AS MATERIALIZED (
        SELECT stage, arm, unit_id, alone, CAST(count(*) AS numeric) AS n,
            CAST(count(*) FILTER (WHERE NOT is_ok) AS numeric) AS bad,
            CAST(count(*) FILTER (WHERE is_slow) AS numeric) AS slow,
            CAST(sum(ll) AS numeric) AS ll, coalesce(sum(nano), 0) AS cost,
            coalesce(sum(w) FILTER (WHERE is_labelled), 0) AS w,
            coalesce(sum(w * y) FILTER (WHERE is_labelled), 0) AS wy
        FROM mine GROUP BY stage, arm, unit_id, alone
    ),
    valued AS (
        SELECT stage, arm, unit_id, alone, name, w, CAST(value AS numeric) AS v
        FROM mine JOIN said_values USING (call_id) WHERE is_drawn
    ),
    unit_valued AS (
        SELECT stage, arm, unit_id, alone, name, sum(w) AS w, sum(w * v) AS wv
        FROM valued GROUP BY stage, arm, unit_id, alone, name
    )"""

_COUNTED = """
    wide AS (
        SELECT stage, arm, count(*) AS calls, count(*) FILTER (WHERE is_ok) AS ok,
            count(*) FILTER (WHERE is_slow) AS slow, sum(ll) AS ll, sum(nano) AS cost,
            count(nano) AS cost_known,
            sum(prompt_tokens) AS prompt, count(prompt_tokens) AS prompt_known,
            sum(completion_tokens) AS completion,
            count(completion_tokens) AS completion_known,
            sum(cached_tokens) AS cached, count(cached_tokens) AS cached_known,
            count(*) FILTER (WHERE unit_source <> 'call') AS sticky,
            count(*) FILTER (WHERE is_corrected) AS corrections,
            count(*) FILTER (WHERE is_designed) AS audit_n,
            sum(f) FILTER (WHERE is_designed) AS audit_f,
            sum(f * f) FILTER (WHERE is_designed) AS audit_ff,
            count(*) FILTER (WHERE is_drawn) AS drawn
        FROM mine GROUP BY stage, arm
    ),
    kinds AS (
        SELECT stage, arm, outcome, verdict_failure, served_deployment,
            CASE WHEN is_ok THEN verdict_label END AS label, count(*) AS n
        FROM mine GROUP BY 1, 2, 3, 4, 5, 6
    ),
    labelled AS (
        SELECT stage, arm, w, w * w AS w2, y, f, verdict_label, human,
            (f - 10000 * y) * (f - 10000 * y) AS brier, least(f / 1000, 9) AS bin,
            '[' || to_json(verdict_label) || ',' || to_json(human) || ']' AS pair
        FROM mine WHERE is_labelled
    ),
    moments AS (
        SELECT stage, arm, count(*) AS units, sum(n * n) AS nn,
            count(*) FILTER (WHERE bad > 0) AS units_bad, sum(bad * n) AS bad_n,
            sum(bad * bad) AS bad2, count(*) FILTER (WHERE slow > 0) AS units_slow,
            sum(slow * n) AS slow_n, sum(slow * slow) AS slow2, sum(ll * n) AS ll_n,
            sum(ll * ll) AS ll2, sum(cost * n) AS cost_n, sum(cost * cost) AS cost2,
            sum(w * w) AS u_w2, sum(wy * wy) AS u_wy2, sum(wy * w) AS u_wy_w
        FROM units GROUP BY stage, arm
    ),
    placed AS (
        SELECT stage, arm, row_number() OVER (
            PARTITION BY stage, unit_id ORDER BY arm <> 'primary', arm COLLATE "C") AS place
        FROM units WHERE alone IS NULL
    )"""

_NAMED = """
    named (stage, arm, name, value) AS (
        SELECT stage, arm, v.name, v.value FROM wide, LATERAL (VALUES
            ('calls', calls), ('ok', ok), ('bad', calls - ok), ('slow', slow), ('ll', ll),
            ('cost', cost), ('cost_known', cost_known), ('sticky_calls', sticky),
            ('prompt_tokens', prompt), ('prompt_tokens_known', prompt_known),
            ('completion_tokens', completion),
            ('completion_tokens_known', completion_known),
            ('cached_tokens', cached), ('cached_tokens_known', cached_known),
            ('corrections', corrections), ('audit_n', audit_n), ('audit_f', audit_f),
            ('audit_ff', audit_ff), ('drawn', drawn)) v (name, value)
        UNION ALL SELECT stage, arm, 'outcome:' || outcome, n FROM kinds
        UNION ALL SELECT stage, arm, 'failure:' || verdict_failure, n FROM kinds
        UNION ALL SELECT stage, arm, 'served_by:' || served_deployment, n FROM kinds
        UNION ALL SELECT stage, arm, 'label:' || label, n FROM kinds
        UNION ALL SELECT stage, arm, 'latency:' || latency, count(*) FROM mine GROUP BY 1, 2, 3
        UNION ALL SELECT stage, arm, 'ttft:' || ttft, count(*) FROM mine GROUP BY 1, 2, 3
        UNION ALL SELECT stage, arm, v.name, v.value FROM labelled, LATERAL (VALUES
            ('labelled', 1), ('agree', y), ('disagree', 1 - y),
            ('w', w), ('wy', w * y), ('wf', w * f), ('wyf', w * y * f), ('wff', w * f * f),
            ('w2', w2), ('w2y', w2 * y), ('w2f', w2 * f), ('w2yf', w2 * y * f),
            ('w2ff', w2 * f * f), ('w_brier', w * brier), ('w2_brier', w2 * brier),
            ('w2_brier2', w2 * brier * brier),
            ('confusion:' || pair, 1), ('confusion_w:' || pair, w),
            ('reliability:' || bin || '\\:w', w), ('reliability:' || bin || '\\:wf', w * f),
            ('reliability:' || bin || '\\:wy', w * y)) v (name, value)
        UNION ALL SELECT stage, arm, v.name, v.value FROM moments, LATERAL (VALUES
            ('units', units), ('nn', nn), ('units_bad', units_bad), ('bad_n', bad_n),
            ('bad2', bad2), ('units_slow', units_slow), ('slow_n', slow_n),
            ('slow2', slow2), ('ll_n', ll_n), ('ll2', ll2), ('cost_n', cost_n),
            ('cost2', cost2), ('u_w2', u_w2), ('u_wy2', u_wy2), ('u_wy_w', u_wy_w))
            v (name, value)
        UNION ALL SELECT stage, arm, 'value:' || name || ':' || v.part, v.value
        FROM valued, LATERAL (VALUES
            ('n', 1), ('v', v), ('vv', v * v), ('w', w), ('wv', w * v), ('w2', w * w),
            ('w2v', w * w * v), ('w2vv', w * w * v * v)) v (part, value)
        UNION ALL SELECT stage, arm, 'value:' || name || ':' || v.part, v.value
        FROM unit_valued, LATERAL (VALUES
            ('u_w2', w * w), ('u_wv_w', wv * w), ('u_wv2', wv * wv)) v (part, value)
        UNION ALL SELECT stage, arm, 'multi_arm_units', count(*) FROM placed
            WHERE place > 1 GROUP BY 1, 2
    ),
    recounted AS (
        SELECT stage, arm, name, sum(value) AS value FROM named
        WHERE name IS NOT NULL AND value <> 0 GROUP BY stage, arm, name
    )"""

_TOTALS = f"WITH {_MINE}, {_UNITS}, {_COUNTED}, {_NAMED}"
_EPOCH = "experiment_id = :experiment_id AND epoch = :epoch"
_UNIT = "stage, arm, unit_id, n, bad, slow, ll, cost, w, wy"
_VALUE = "stage, arm, unit_id, name, w, wv"


@dataclass(frozen=True, slots=True)
class Difference:
    """A total that is not what the rows add up to.

    Args:
        name: Of the total; `(unit rows)` and `(unit values)` stand for rows that differ.
        stored, recounted: 0 for one that is missing.
    """

    stage: int
    arm: str
    name: str
    stored: int
    recounted: int


_DIFFERENCES = f"""{_TOTALS},
    kept AS (SELECT stage, arm, name, value FROM totals WHERE {_EPOCH}),
    kept_units AS (SELECT {_UNIT} FROM unit_totals WHERE {_EPOCH}),
    found_units AS (SELECT {_UNIT} FROM units WHERE alone IS NULL),
    kept_values AS (SELECT {_VALUE} FROM unit_values WHERE {_EPOCH} AND w <> 0),
    found_values AS (SELECT {_VALUE} FROM unit_valued WHERE alone IS NULL),
    strays AS (
        SELECT stage, arm, '(unit rows)' AS name, 1 AS stored, 0 AS recounted
        FROM (SELECT * FROM kept_units EXCEPT SELECT * FROM found_units) missing
        UNION ALL SELECT stage, arm, '(unit rows)', 0, 1
        FROM (SELECT * FROM found_units EXCEPT SELECT * FROM kept_units) missing
        UNION ALL SELECT stage, arm, '(unit values)', 1, 0
        FROM (SELECT * FROM kept_values EXCEPT SELECT * FROM found_values) missing
        UNION ALL SELECT stage, arm, '(unit values)', 0, 1
        FROM (SELECT * FROM found_values EXCEPT SELECT * FROM kept_values) missing
    )
    SELECT stage, arm, name, coalesce(kept.value, 0) AS stored,
        coalesce(recounted.value, 0) AS recounted
    FROM kept FULL JOIN recounted USING (stage, arm, name)
    WHERE coalesce(kept.value, 0) <> coalesce(recounted.value, 0)
    UNION ALL
    SELECT stage, arm, name, sum(stored), sum(recounted) FROM strays GROUP BY 1, 2, 3
    ORDER BY stage, arm, name"""  # noqa: S608 - made of the strings above

_REPAIRS = (
    f"DELETE FROM totals WHERE {_EPOCH}",  # noqa: S608
    f"DELETE FROM unit_totals WHERE {_EPOCH}",  # noqa: S608
    f"DELETE FROM unit_values WHERE {_EPOCH}",  # noqa: S608
    f"""INSERT INTO totals (experiment_id, epoch, stage, arm, name, value)
    {_TOTALS} SELECT :experiment_id, :epoch, stage, arm, name, value FROM recounted""",  # noqa: S608
    f"""INSERT INTO unit_totals (experiment_id, epoch, {_UNIT})
    WITH {_MINE}, {_UNITS}
    SELECT :experiment_id, :epoch, {_UNIT} FROM units WHERE alone IS NULL""",  # noqa: S608
    f"""INSERT INTO unit_values (experiment_id, epoch, {_VALUE})
    WITH {_MINE}, {_UNITS}
    SELECT :experiment_id, :epoch, {_VALUE} FROM unit_valued WHERE alone IS NULL""",  # noqa: S608
)


async def differences(tx: AsyncConnection, experiment_id: str, epoch: int) -> list[Difference]:
    """Compare the totals of an epoch with its rows, both as of one moment."""
    await _be_patient(tx)
    values = {"experiment_id": experiment_id, "epoch": epoch}
    found = await tx.execute(text(_DIFFERENCES), values)
    return [
        Difference(stage, arm, name, int(stored), int(recounted))
        for stage, arm, name, stored, recounted in found
    ]


async def repair(tx: AsyncConnection, experiment_id: str, epoch: int) -> None:
    """Replace the totals of an epoch by the recount; the transaction has locked them."""
    await _be_patient(tx)
    for statement in _REPAIRS:
        await tx.execute(text(statement), {"experiment_id": experiment_id, "epoch": epoch})


async def _be_patient(tx: AsyncConnection) -> None:
    await tx.execute(text(f"SET LOCAL statement_timeout = '{_PATIENCE}'"))
