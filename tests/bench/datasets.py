"""How long does it take to build a dataset of a million pairs?

    python -m tests.bench.datasets [ROWS]

Prints `dataset_build_s_1e6` (or of as many rows as are asked for, then with their number),
and the process's peak memory. Every pair is an edit of a draft; a fifth of the posts are
others with a few words changed, and a unit has four drafts. Filling the tables takes minutes,
too, and is not counted.
"""

import asyncio
import hashlib
import resource
import sys
import time
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from sidecar.core.datasets import Kind, Spec
from sidecar.service.datasets import build
from sidecar.store.database import create_engine, transaction
from sidecar.store.events import By
from sidecar.store.migrate import migrate
from tests.bench.grounds import grounds

ROWS = 10**6
AT_ONCE = 50_000
SYSTEM = '"You write kind and short replies to posts. ' + "Mind the house rules. " * 40 + '"'

_SYSTEM = "INSERT INTO contents VALUES (:hash, :body)"
_WORDS = """
CREATE TABLE bench_words AS
SELECT n AS number,
    translate(substr(md5(n::text), 1, 3 + n % 7), '0123456789', 'ghijklmnop') AS word
FROM generate_series(0, 4095) AS n"""
# A fifth of the posts take the words of the post before, but for one.
_CALLS = """
WITH posts AS (
    SELECT n, string_agg(word, ' ' ORDER BY k) AS post FROM (
        SELECT n, k, ('x' || substr(md5(
            (CASE WHEN n % 5 = 4 AND k <> n % 25 THEN n - 1 ELSE n END) || '-' || k
        ), 1, 3))::bit(12)::int AS pick
        FROM generate_series(CAST(:first AS int), CAST(:last AS int)) AS n,
            generate_series(1, 25) AS k
    ) picked JOIN bench_words ON number = pick GROUP BY n
)
INSERT INTO calls (call_id, started_at, project_id, surface, stream, requested_model,
    group_name, task, epoch, stage, generation, unit_id, unit_source, assigned_arm, share_bp,
    provider_model, outcome, attempts, request, request_hash, answer, latency_ms, metadata, ll)
SELECT '0198' || lpad(to_hex(n), 32, '0'), CAST(:now AS timestamptz), 'default', 'chat', false,
    'reply', 'reply', 'draft', 0, 0, 1, 'u-' || n / 4, 'header', 'primary', 10000, 'drafter-1',
    'served', '[]', convert_to('{"model":"reply","messages":[{"role":"system","content":'
        || :reference || '},{"role":"user","content":"' || post || '"}]}', 'UTF8'),
    '', convert_to('{"text":"Thank you for ' || post || '"}', 'UTF8'), 1, '{}', 0
FROM posts"""
_FEEDBACK = """
INSERT INTO feedback (call_id, started_at, project_id, kind, name, source, reviewer, value,
    is_boolean, text, at, actor, is_current)
SELECT call_id, started_at, 'default', 'edit', 'approved', 'correction', 'ann', 0, true,
    'x', started_at, 'bench', true
FROM calls ORDER BY call_id"""
_PAIRS = """
INSERT INTO pairs (project_id, group_name, content_hash, origin, prompt_hash, call_id, chosen,
    rejected, rejected_model, at)
SELECT 'default', 'reply', sha256(convert_to(call_id, 'UTF8')), 'edit',
    sha256(convert_to(call_id, 'UTF8')), call_id,
    convert_to('"Thanks a lot for ' || substr(said, 10, 120) || '"', 'UTF8'),
    convert_to('"Thank you for ' || substr(said, 10, 150) || '"', 'UTF8'), 'drafter-1', at
FROM (SELECT call_id, started_at AS at,
    rtrim(convert_from(answer, 'UTF8'), '"}') AS said FROM calls) c
ORDER BY call_id"""
_GROUNDS = """
INSERT INTO pair_grounds (pair_id, feedback_id)
SELECT p.id, f.id FROM pairs p JOIN feedback f USING (call_id)"""


async def fill(engine: AsyncEngine, count: int) -> None:
    """Store so many drafts that were edited, and their pairs."""
    digest = hashlib.sha256(SYSTEM.encode()).digest()
    reference = f'{{"$content":"{digest.hex()}"}}'
    now = datetime.now(UTC)
    async with transaction(engine) as tx:
        await tx.execute(text(_SYSTEM), {"hash": digest, "body": SYSTEM.encode()})
        await tx.execute(text(_WORDS))
    for first in range(0, count, AT_ONCE):
        async with transaction(engine) as tx:
            last = min(first + AT_ONCE, count) - 1
            values = {"first": first, "last": last, "now": now, "reference": reference}
            await tx.execute(text(_CALLS), values)
    for statement in (_FEEDBACK, _PAIRS, _GROUNDS):
        async with transaction(engine) as tx:
            await tx.execute(text(statement))
    async with engine.connect() as connection:
        automatic = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await automatic.execute(text("VACUUM ANALYZE"))


async def measure(url: str, count: int) -> tuple[float, int]:
    """Build a dataset of so many pairs.

    Returns:
        Seconds, and the dataset's rows.
    """
    engine = create_engine(url, statement_timeout_s=1_800)
    try:
        await migrate(engine, now=datetime.now(UTC))
        await fill(engine, count)
    finally:
        await engine.dispose()
    engine = create_engine(url)
    try:
        began = time.perf_counter()
        spec = Spec(kind=Kind.DPO, project_id="default")
        made, _ = await build(engine, spec, by=By("bench", datetime.now(UTC), None))
        took = time.perf_counter() - began
    finally:
        await engine.dispose()
    return took, sum(made.manifest["rows"].values())


def main(count: int = ROWS) -> None:
    """Measure once, and print the figures."""
    name = "1e6" if count == ROWS else str(count)
    with grounds() as (url, _):
        took, rows = asyncio.run(measure(url, count))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"dataset_build_s_{name}: {took:.1f}")
    print(f"dataset_build_rows_{name}: {rows}")
    print(f"dataset_build_peak_mb_{name}: {peak_mb:.0f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
