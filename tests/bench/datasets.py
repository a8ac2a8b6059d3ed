"""How long does it take to build a dataset of a million pairs?

    python -m tests.bench.datasets [--small]

Prints `dataset_build_s_1e6` and the process's peak memory; with `--small` the same for 1e5.
Filling the tables takes minutes, too, and is not counted.

The posts are made up, but as uneven as real ones: 8 to 40 words out of 20,000 that are put
together from syllables, the commonest in most posts and most of them in few (Zipf's law with
an exponent of 1). One in twenty is a near-copy of one shortly before, and one in fifty the
same again. Every pair is an edit of a draft; a unit has four drafts.
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
from tests.bench.posts import posts

SMALL, BIG = ("1e5", 10**5), ("1e6", 10**6)
AT_ONCE = 50_000
SYSTEM = '"You write kind and short replies to posts. ' + "Mind the house rules. " * 40 + '"'

_SYSTEM = "INSERT INTO contents VALUES (:hash, :body)"
_CALLS = """
INSERT INTO calls (call_id, started_at, project_id, surface, stream, requested_model,
    group_name, task, epoch, stage, generation, unit_id, unit_source, assigned_arm, share_bp,
    provider_model, outcome, attempts, request, request_hash, answer, latency_ms, metadata, ll)
SELECT '0198' || lpad(to_hex(n), 32, '0'), CAST(:now AS timestamptz), 'default', 'chat', false,
    'reply', 'reply', 'draft', 0, 0, 1, 'u-' || n / 4, 'header', 'primary', 10000, 'drafter-1',
    'served', '[]', convert_to('{"model":"reply","messages":[{"role":"system","content":'
        || :reference || '},{"role":"user","content":"' || post || '"}]}', 'UTF8'),
    '', convert_to('{"text":"Thank you for ' || post || '"}', 'UTF8'), 1, '{}', 0
FROM (SELECT :first - 1 + place AS n, post
    FROM unnest(CAST(:posts AS text[])) WITH ORDINALITY AS made (post, place)) numbered"""
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
    for first, some in posts(count, AT_ONCE):
        values = {"first": first, "posts": some, "now": now, "reference": reference}
        async with transaction(engine) as tx:
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


def main(*, small: bool = False) -> None:
    """Measure once, and print the figures."""
    name, count = SMALL if small else BIG
    with grounds() as (url, _):
        took, rows = asyncio.run(measure(url, count))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"dataset_build_s_{name}: {took:.1f}")
    print(f"dataset_build_rows_{name}: {rows}")
    print(f"dataset_build_peak_mb_{name}: {peak_mb:.0f}")


if __name__ == "__main__":
    main(small="--small" in sys.argv[1:])
