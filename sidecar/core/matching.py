"""Which good text goes with a text that was rejected and nothing better given?"""

from collections.abc import Collection, Iterable, Sequence

from sidecar.core.preferences import Completion, Origin, Pair, Prompted, refused


def matches(
    bad: Iterable[Completion],
    good: Iterable[Completion],
    new: Collection[int],
    min_edit: float = 0.0,
) -> list[Pair]:
    """Pair texts that were rejected, without a better one, with what is good for the prompt.

    Each is paired once, with the latest good text that differs enough. One of the two words
    must be new: so what could be built as of an earlier word never changes afterwards.

    Args:
        bad: Those that have no pair now.
        new: Ids of the new words.
    """
    by_prompt: dict[Prompted, list[Completion]] = {}
    for each in sorted(good, key=lambda one: one.feedback_id, reverse=True):
        by_prompt.setdefault(each.prompt, []).append(each)
    found = (_match(each, by_prompt.get(each.prompt, ()), new, min_edit) for each in bad)
    return [pair for pair in found if pair is not None]


def _match(
    bad: Completion, good: Sequence[Completion], new: Collection[int], min_edit: float
) -> Pair | None:
    for one in good:
        is_new = bad.feedback_id in new or one.feedback_id in new
        if is_new and refused(one.said.text, bad.said.text, min_edit) is None:
            ids = bad.feedback_id, one.feedback_id
            return Pair(Origin.REJECTION, bad.prompt, bad.call_id, one.said, bad.said, *ids)
    return None
