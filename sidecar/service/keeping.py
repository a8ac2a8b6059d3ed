"""Which words are new, and which earlier ones do they supersede?"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from sidecar.core.errors import Conflict
from sidecar.core.feedback import Feedback, shown_value
from sidecar.service.words import Told
from sidecar.store import feedback as store
from sidecar.store.events import By
from sidecar.store.feedback import Kept, Slot


@dataclass(frozen=True, slots=True)
class Given:
    """A word that is kept.

    Args:
        is_new: Whether it is kept from now on; what is said already is given back as it is.
    """

    feedback: Feedback
    is_new: bool


async def keep(
    tx: AsyncConnection, told: Sequence[Told], by: By
) -> tuple[list[Given | Conflict], list[Feedback]]:
    """Store the words that are new; the transaction has locked their calls.

    Returns:
        What became of each, and the new ones alone.
    """
    if not told:
        return [], []
    slots = {
        (each.subject.call_id, each.word.name, each.said.source, each.said.reviewer)
        for each in told
    }
    keys = {
        (each.subject.project_id, each.said.key) for each in told if each.said.key is not None
    }
    ids = await store.take_ids(tx, len(told))
    while True:
        desk = _Desk(*await store.known(tx, slots, keys), ids, by)
        taken = [desk.take(each) for each in told]
        new = [desk.words[added] for added in desk.new]
        if await _are_stored(tx, new, desk.old.difference(desk.new)):
            break
        # Meanwhile a word on another call has come with the same key: look again.
    first = set(desk.new)
    given: list[Given | Conflict] = []
    for each in taken:
        if isinstance(each, int):
            given.append(Given(desk.words[each].feedback, each in first))
            first.discard(each)
        else:
            given.append(each)
    return given, [kept.feedback for kept in new]


async def _are_stored(tx: AsyncConnection, new: Sequence[Kept], old: Collection[int]) -> bool:
    """Store new words in place of some old ones: all of them, or none for a used key."""
    has_key = any(kept.feedback.key is not None for kept in new)
    if not has_key or (len(new) == 1 and not old):  # nothing, or nothing else, can fail
        return len(await store.add(tx, new, old)) == len(new)
    attempt = await tx.begin_nested()
    are_stored = len(await store.add(tx, new, old)) == len(new)
    await (attempt.commit() if are_stored else attempt.rollback())
    return are_stored


class _Desk:
    """Decides which words are new and which they supersede; nothing is stored yet.

    Args:
        current: The stored words that may be superseded, by their slots.
        keyed: The stored words that came with one of the keys.
        ids: Enough for every word to be new.
    """

    def __init__(
        self,
        current: Mapping[Slot, Kept],
        keyed: Mapping[tuple[str, str], Kept],
        ids: Iterable[int],
        by: By,
    ) -> None:
        self.ids = iter(ids)
        self.by = by
        self.words = {kept.feedback.id: kept for kept in (*keyed.values(), *current.values())}
        self.current = {slot: kept.feedback.id for slot, kept in current.items()}
        self.keyed = {key: kept.feedback.id for key, kept in keyed.items()}
        self.new: list[int] = []
        self.old: set[int] = set()

    def take(self, told: Told) -> int | Conflict:
        """Take a word; returns its id, or that of the stored word that says the same."""
        said = told.said
        slot = (told.subject.call_id, told.word.name, said.source, said.reviewer)
        if said.key is not None:
            known = self.keyed.get((told.subject.project_id, said.key))
            if known is not None:
                return known if _same(self.words[known], slot, told) else _used(said.key)
        before = self.words[self.current[slot]] if slot in self.current else None
        # With a key of its own a word is kept although it says nothing new, or the key
        # would be forgotten, and the word sent again later would undo what came between.
        if said.key is None and before is not None and _same(before, slot, told):
            return before.feedback.id
        return self._add(told, slot, before)

    def _add(self, told: Told, slot: Slot, before: Kept | None) -> int:
        kept = _kept(next(self.ids), told, before, self.by)
        added = kept.feedback.id
        if before is not None:
            earlier = before.feedback
            self.words[earlier.id] = replace(
                before, feedback=replace(earlier, is_current=False)
            )
            self.old.add(earlier.id)
        self.words[added] = kept
        self.current[slot] = added
        self.new.append(added)
        if told.said.key is not None:
            self.keyed[told.subject.project_id, told.said.key] = added
        return added


def _kept(new_id: int, told: Told, before: Kept | None, by: By) -> Kept:
    said, word = told.said, told.word
    feedback = Feedback(
        id=new_id,
        call_id=told.subject.call_id,
        kind=word.kind,
        name=word.name,
        source=said.source,
        reviewer=said.reviewer,
        label=word.label,
        value=shown_value(word.value, is_boolean=word.is_boolean),
        text=word.text,
        rejected=word.rejected,
        other_call_id=word.other_call_id,
        comment=said.comment,
        key=said.key,
        at=by.now,
        actor=by.actor,
        is_current=True,
        supersedes=None if before is None else before.feedback.id,
    )
    first_id = None if before is None else before.first_id or before.feedback.id
    return Kept(feedback, word, told.subject.project_id, first_id)


def _same(kept: Kept, slot: Slot, told: Told) -> bool:
    is_same = (kept.slot, kept.word) == (slot, told.word)
    return is_same and kept.feedback.comment == told.said.comment


def _used(key: str) -> Conflict:
    return Conflict(f"key {key[:80]!r} came with another word before; send a key of its own")
