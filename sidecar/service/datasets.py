"""How is a dataset built, shown and verified?

What counts is chosen as of one word's id; rows are made of it chunk by chunk, and put aside;
when all are known they are split, counted, hashed and stored, or found to be there already.
"""

import asyncio
import importlib.metadata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from sidecar.core.contents import references
from sidecar.core.datasets import (
    Hash,
    Spec,
    Split,
    check,
    check_holdout,
    id_of,
    row_digest,
    to_document,
)
from sidecar.core.errors import Invalid, NotFound
from sidecar.core.facts import MICRO
from sidecar.core.likeness.near import Texts
from sidecar.core.manifests import Tally, refuse_nothing, refuse_too_little
from sidecar.core.manifests import contents as describe
from sidecar.core.splits import LEFT_OUT, NEAR_HOLDOUT, PLACES, Divided, Shares, divide
from sidecar.service.dataset_rows import GONE, Made, Maker
from sidecar.service.patterns import Patterns
from sidecar.service.tokens import ENCODING, Tokens, load
from sidecar.store import contents, datasets, sources
from sidecar.store.database import transaction
from sidecar.store.datasets import Dataset, NewDataset
from sidecar.store.events import By
from sidecar.store.sources import Source, Wanted

CHUNK = 2_000  # rows made at once
PACKAGE = "signalops"
_REMEMBERED = 2_000  # parts of requests, such as system prompts


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether a dataset is what its hash says, and what is left of where it came from.

    Args:
        hash: Computed from the rows as they are now.
        calls: How many calls its rows are of; retention may have taken the others, and the
            dataset keeps its rows all the same.
    """

    id: str
    is_intact: bool
    hash: str
    rows: int
    calls: int
    calls_existing: int


@dataclass(slots=True)
class _Gathered:
    """What is remembered of the rows that were put aside."""

    left_out: Counter[str]
    items: list[int] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    texts: Texts = field(default_factory=Texts)
    tally: Tally = field(default_factory=Tally)

    def take(self, made: Sequence[Made]) -> None:
        """Remember some rows."""
        for each in made:
            self.items.append(each.item)
            self.units.append(each.unit)
            self.prompts.append(each.prompt)
            self.digests.append(row_digest(each.row))
            self.calls.append(each.row.call_id)
            self.tally.add(each.facts, each.tokens)
        self.texts.add([each.own for each in made])


async def build(engine: AsyncEngine, spec: Spec, *, by: By) -> tuple[Dataset, bool]:
    """Build a dataset.

    Returns:
        The dataset, and whether it is new: one of the same content is given back as it is.

    Raises:
        Invalid: The spec can never be right, or a pattern of it takes too long.
        Conflict: A smaller holdout than the project's would give it to training.
        InsufficientData: There are too few rows, or all are of one class.
    """
    check(spec)
    patterns = Patterns(spec.redact.patterns)
    maker = Maker(spec.redact, patterns, Tokens(await asyncio.to_thread(load)))
    async with transaction(engine) as tx:
        check_holdout(spec, await datasets.largest_holdout(tx, spec.project_id))
    spec = await _as_of(engine, spec)
    async with transaction(engine) as tx:
        gathered = await _gather(tx, spec, maker)
        divided = await asyncio.to_thread(_divide, gathered, spec)
        new, chosen = await asyncio.to_thread(_describe, gathered, divided, spec, by)
        new = replace(new, manifest={**new.manifest, "code": await _code(tx)})
        number = await datasets.add(tx, new)
        if number is None:
            return await _existing(tx, new.id, None), False
        splits = [PLACES[divided.places[row]].value for row in chosen]
        await datasets.place(tx, number, [gathered.items[row] for row in chosen], splits)
        return await _existing(tx, new.id, None), True


async def get(tx: AsyncConnection, dataset_id: str, *, project_id: str | None) -> Dataset:
    """Show a dataset.

    Raises:
        NotFound: There is none, or it is another project's.
    """
    return await _existing(tx, dataset_id, project_id)


async def page(
    tx: AsyncConnection, *, project_id: str | None, before: int | None, limit: int
) -> list[Dataset]:
    """List datasets, newest first; see `store.datasets.page`."""
    return await datasets.page(tx, project_id, before=before, limit=limit)


async def verify(tx: AsyncConnection, dataset_id: str, *, project_id: str | None) -> Verified:
    """Compute a dataset's hash again from its rows.

    Raises:
        NotFound: There is none, or it is another project's.
    """
    found = await _existing(tx, dataset_id, project_id)
    whole, count = Hash(), 0
    async for some in datasets.rows(tx, found.number):
        for row in some:
            whole.add(row.split, row_digest(row))
        count += len(some)
    used, existing = await datasets.count_calls(tx, found.number)
    digest = whole.hexdigest()
    return Verified(found.id, digest == found.hash, digest, count, used, existing)


async def _as_of(engine: AsyncEngine, spec: Spec) -> Spec:
    """Fix which word is the last one that counts.

    Raises:
        Invalid: The one that is asked for has not been said yet.
    """
    async with transaction(engine) as tx:
        newest = await sources.newest(tx)
    if spec.as_of is None:
        return replace(spec, as_of=newest)
    if spec.as_of > newest:
        msg = f"as_of {spec.as_of} has not been said yet; the newest feedback is {newest}"
        raise Invalid(msg)
    return spec


async def _gather(tx: AsyncConnection, spec: Spec, maker: Maker) -> _Gathered:
    """Make every row, and put it aside."""
    total, left_out = await sources.choose(tx, _wanted(spec))
    gathered = _Gathered(Counter(left_out))
    await datasets.begin(tx)
    parts: dict[bytes, bytes] = {}
    for after in range(0, total, CHUNK):
        found = await sources.page(tx, after, after + CHUNK)
        parts = await _parts(tx, found, parts)
        # One after the other: threads that take turns at the interpreter cost more than what
        # they could do at once.
        made, reasons = await asyncio.to_thread(maker.make, found, parts)
        gathered.left_out += reasons
        await asyncio.to_thread(gathered.take, made)
        rows = [each.row for each in made]
        await datasets.gather(tx, [each.item for each in made], rows)
    # A call that retention took while its rows were made is gone like any other.
    known = len(gathered.items) + gathered.left_out.total()
    gathered.left_out += Counter({GONE: total - known})
    if not gathered.items:
        refuse_nothing(gathered.left_out)
    return gathered


async def _parts(
    tx: AsyncConnection, found: Sequence[Source], known: Mapping[bytes, bytes]
) -> dict[bytes, bytes]:
    """Fetch the parts of some requests, those apart that came shortly before."""
    wanted = {digest for source in found for digest in references(source.skeleton)}
    missing = wanted - known.keys()
    fetched = await contents.get(tx, missing) if missing else {}
    if len(known) + len(fetched) > _REMEMBERED + len(wanted):
        known = {digest: known[digest] for digest in wanted & known.keys()}
    return {**known, **fetched}


def _divide(gathered: _Gathered, spec: Spec) -> Divided:
    shares = Shares(spec.project_id, spec.seed, spec.validation, spec.holdout)
    prompts = np.array(gathered.prompts, dtype=np.int64)
    return divide(gathered.units, prompts, gathered.texts.groups(), shares)


def _describe(
    gathered: _Gathered, divided: Divided, spec: Spec, by: By
) -> tuple[NewDataset, list[int]]:
    """Tell what the dataset is, and which of the rows it has."""
    splits = [None if place == LEFT_OUT else PLACES[place] for place in divided.places]
    chosen = [row for row, split in enumerate(splits) if split is not None]
    left_out = gathered.left_out + Counter({NEAR_HOLDOUT: len(splits) - len(chosen)})
    found = describe(gathered.tally, splits, spec)
    refuse_too_little(found, spec, left_out)
    whole, of_splits = Hash(), {split: Hash() for split in Split}
    for row in chosen:
        split = PLACES[divided.places[row]]
        whole.add(split, gathered.digests[row])
        of_splits[split].add(split, gathered.digests[row])
    calls = [gathered.calls[row] for row in chosen]
    document = to_document(spec)
    manifest: dict[str, Any] = {
        **found,
        "left_out": dict(sorted(left_out.items())),
        "units": divided.units,
        "parts": {"count": divided.parts, "largest": divided.largest_part},
        "calls": {"first": min(calls), "last": max(calls), "count": len(set(calls))},
        "feedback_as_of": spec.as_of,
        "encoding": ENCODING,
        "hashes": {split.value: each.hexdigest() for split, each in of_splits.items()},
        "spec": document,
    }
    digest = whole.hexdigest()
    new = NewDataset(
        id=id_of(digest),
        hash=digest,
        project_id=spec.project_id,
        kind=spec.kind.value,
        spec=document,
        manifest=manifest,
        created_at=by.now,
        created_by=by.actor,
    )
    return new, chosen


async def _existing(tx: AsyncConnection, dataset_id: str, project_id: str | None) -> Dataset:
    found = await datasets.get(tx, dataset_id)
    if found is None or project_id not in (None, found.project_id):
        msg = f"there is no dataset {dataset_id[:40]!r}"
        raise NotFound(msg)
    return found


async def _code(tx: AsyncConnection) -> dict[str, str]:
    """Say which code built it."""
    version = importlib.metadata.version(PACKAGE)
    return {"version": version, "schema": await datasets.schema_revision(tx)}


def _wanted(spec: Spec) -> Wanted:
    if spec.as_of is None:
        raise TypeError
    score = spec.min_score
    return Wanted(
        kind=spec.kind,
        project_id=spec.project_id,
        as_of=spec.as_of,
        sources=spec.sources,
        origins=spec.origins,
        group=spec.group,
        arm=spec.arm,
        model=spec.model,
        since=spec.since,
        until=spec.until,
        agreement=spec.min_agreement,
        score_name=None if score is None else score.name,
        score=None if score is None else round(score.value * MICRO),
    )
