"""What does a prompt say, turn by turn, for formats that know no more than plain turns?

Alpaca and ShareGPT have one text for the system and then a user and an assistant by turns; a
column of a table has a role and a text. A prompt that says more than that cannot be written
so, and is refused rather than bent.
"""

import json
from dataclasses import dataclass

from sidecar.core.errors import Conflict

_SYSTEM = ("system", "developer")
_USER, _ASSISTANT = "user", "assistant"
_KEYS = {"role", "content"}


class Inexpressible(Conflict):
    """A dataset's row says something that the format has no place for."""


@dataclass(frozen=True, slots=True)
class Turns:
    """A prompt as a conversation.

    Args:
        system: The empty text when there is none.
        said: Texts of user and assistant by turns; the first and the last are the user's.
    """

    system: str
    said: list[str]


def plain_messages(prompt: bytes) -> list[tuple[str, str]]:
    """Read a prompt as roles and texts.

    Args:
        prompt: A JSON list of messages.

    Raises:
        Inexpressible: A message is more than a role and one text.
    """
    return [_plain(message) for message in json.loads(prompt)]


def turns(prompt: bytes) -> Turns:
    """Read a prompt as a conversation.

    Raises:
        Inexpressible: A message is more than a role and one text, or the roles do not take
            turns.

    Example:
        >>> turns(b'[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}]')
        Turns(system='Be brief.', said=['Hi'])
    """
    messages = plain_messages(prompt)
    system = ""
    if messages and messages[0][0] in _SYSTEM:
        system = messages.pop(0)[1]
    roles = [role for role, _ in messages]
    expected = [_ASSISTANT if place % 2 else _USER for place in range(len(roles))]
    if roles != expected or len(roles) % 2 == 0:
        found = ", ".join(role[:20] for role in roles[:6]) or "nothing"
        msg = f"user and assistant must take turns and the user be last; found {found}"
        raise Inexpressible(msg)
    return Turns(system, [text for _, text in messages])


def _plain(message: dict[str, object]) -> tuple[str, str]:
    more = {key for key, value in message.items() if value is not None} - _KEYS
    if more:
        names = ", ".join(sorted(key[:20] for key in more)[:3])
        msg = f"a message has only a role and a text; found {names} besides"
        raise Inexpressible(msg)
    return str(message["role"]), _text(message.get("content"))


def alone(content: object) -> str | None:
    """Give the text of a content that is one part of text; None if it is anything else.

    One part of text is that text; several would have to be joined, which nobody did.

    Example:
        >>> alone([{"type": "text", "text": "Hi"}])
        'Hi'
    """
    part = content[0] if isinstance(content, list) and len(content) == 1 else None
    if not isinstance(part, dict) or part.get("type", "text") != "text":
        return None
    text = part.get("text")
    return text if isinstance(text, str) else None


def _text(content: object) -> str:
    text = content if isinstance(content, str) else alone(content)
    if text is None:
        what = f"a list of {len(content)} parts" if isinstance(content, list) else "no text"
        msg = f"a message's content must be one text; found {what}"
        raise Inexpressible(msg)
    return text
