"""What would a judge have answered, had it given the label that a person gave?

The form is the answer's own, so that a model trained on it learns a label and not a new way
to write. The content is only what somebody vouches for: the label, and the reviewer's reason.
The confidence and the reasoning of the wrong answer argued for another label.
"""

import json
import re

_FENCE = re.compile(r"(```[a-zA-Z]*[ \t]*\n?)(.*?)(\n?[ \t]*```)", re.DOTALL)
_INDENT = re.compile(r"\{\s*\n([ \t]+)")
_WORD = re.compile(r"[^\s{}\[\]`][^\n{}\[\]`]{0,62}")
_WORDS = 3  # that a bare label may have
_LABEL = "label"
_REASONING = "reasoning"


def corrected(answer: str, label: str, reasoning: str | None) -> str:
    """Write a judge's answer with another label.

    Args:
        answer: A JSON object, alone or in a code fence, or the bare label. What is none of
            them was no verdict; its correction is a JSON object, which is.
        label: The right one.
        reasoning: The reviewer's; None, or a blank one, leaves the reasoning out.

    Example:
        >>> corrected('{"label":"maybe","confidence":0.6}', "relevant", None)
        '{"label":"relevant"}'
        >>> corrected("maybe", "relevant", "It asks for help.")
        'relevant'
    """
    if _object_in(answer) is not None:
        return _written(answer, label, reasoning)
    fence = _FENCE.search(answer)
    if fence is not None and _object_in(fence[2]) is not None:
        # Words around the fence would plead for the wrong label.
        return f"{fence[1]}{_written(fence[2].strip(), label, reasoning)}{fence[3]}"
    if _is_bare(answer):
        return label
    return _written("", label, reasoning)


def _object_in(text: str) -> dict[str, object] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_bare(answer: str) -> bool:
    """Whether an answer is a label and nothing else."""
    text = answer.strip()
    return _WORD.fullmatch(text) is not None and len(text.split()) <= _WORDS


def _written(like: str, label: str, reasoning: str | None) -> str:
    """Write the verdict's JSON with the white space and the order of another."""
    values = {_LABEL: label}
    if reasoning is not None and reasoning.strip():
        values[_REASONING] = reasoning.strip()
    order = list(_object_in(like) or ())
    values = dict(sorted(values.items(), key=lambda item: _place(order, item[0])))
    indent = _INDENT.match(like.strip())
    if indent is not None:
        return json.dumps(values, ensure_ascii=False, indent=indent[1])
    is_compact = re.search(r'"\s*:\s', like) is None and ":" in like
    separators = (",", ":") if is_compact else (", ", ": ")
    return json.dumps(values, ensure_ascii=False, separators=separators)


def _place(order: list[str], name: str) -> int:
    return order.index(name) if name in order else len(order) + (name == _REASONING)
