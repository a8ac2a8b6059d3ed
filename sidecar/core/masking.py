"""What in a text tells who somebody is, and what stands in its place?

Links, mail addresses, telephone numbers and handles, and what a project's own patterns find.
Masking what is masked changes nothing. What is found is by form alone: a name is a word like
any other.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sidecar.core.datasets import Redact

Replace = Callable[[str, str], tuple[str, int]]
"""Puts a mark (the first) in place of what is found in a text (the second); says how often."""

# Each in time that grows with the text's length alone: no part of a pattern can take up what
# the part before it could.
_LINK = re.compile(r"\b(?:https?://|www\.)[^\s<>\"'\])}]+", re.IGNORECASE)
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@\w[\w-]{0,62}(?:\.\w[\w-]{0,62}){1,8}")
_HANDLE = re.compile(r"(?<![\w@/.])@\w{1,64}(?:[.-]\w{1,64}){0,8}")
# Of 7 to 15 digits, in groups, with a plus, a bracket or a separator somewhere: a number that
# is written as one run of digits is as likely a price or an id.
_PHONE = re.compile(
    r"(?<![\w.,+-])(?:\+\d[\d ()./-]{5,24}\d|\(\d{1,5}\)[ /-]?\d[\d ./-]{3,20}\d"
    r"|\d{2,5}[ /-]\d{2,5}(?:[ ./-]\d{2,5}){1,4})(?![\w-])"
)
_WWW = re.compile(r"www\.", re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_FEWEST_DIGITS, _MOST_DIGITS = 7, 15
_DATE = re.compile(r"(?:19|20)\d\d[-/. ]\d\d?[-/. ]\d\d?|\d\d?[-/. ]\d\d?[-/. ](?:19|20)\d\d")


@dataclass(frozen=True, slots=True)
class Masker:
    """Takes out of texts what a project wants taken out.

    Args:
        redact: What that is.
        own: The project's patterns, ready to be used, by name.
    """

    redact: Redact
    own: Mapping[str, Replace]

    def mask(self, text: str, counts: Counter[str]) -> str:
        """Put marks such as `[mail]` in place of what is found.

        Args:
            counts: How often what was found; added to.

        Raises:
            Invalid: One of the project's patterns takes too long.
        """
        for name, replace in self.own.items():
            text, found = replace(f"[{name}]", text)
            counts[name] += found
        if _is_plain(text):
            return text
        for name, is_wanted, replace in self._built_in():
            if is_wanted:
                text, found = replace(f"[{name}]", text)
                counts[name] += found
        return text

    def is_clean(self, text: str) -> bool:
        """Whether a glance tells that there is nothing to be taken out of a text."""
        return not self.own and _is_plain(text)

    def _built_in(self) -> tuple[tuple[str, bool, Replace], ...]:
        # A link may hold a mail address, and that what looks like a handle.
        return (
            ("link", self.redact.links, _LINK.subn),
            ("mail", self.redact.mail, _MAIL.subn),
            ("phone", self.redact.phone, _mask_phones),
            ("handle", self.redact.handles, _HANDLE.subn),
        )


def mask_messages(messages: list[object], mask: Callable[[str], str]) -> list[object]:
    """Mask the texts of messages; roles, names and whatever else stay as they are."""
    return [_mask_message(message, mask) for message in messages]


def _is_plain(text: str) -> bool:
    """Whether a text has none of the signs without which there is nothing to find.

    To look for a sign is quicker by far than to look for what it is a sign of.
    """
    if "@" in text or "://" in text or _DIGIT.search(text) is not None:
        return False
    return "." not in text or _WWW.search(text) is None


def _mask_message(message: object, mask: Callable[[str], str]) -> object:
    if not isinstance(message, dict) or "content" not in message:
        return message
    content = message["content"]
    if isinstance(content, list):
        return message | {"content": [_mask_part(part, mask) for part in content]}
    return message | {"content": mask(content)} if isinstance(content, str) else message


def _mask_part(part: object, mask: Callable[[str], str]) -> object:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return part | {"text": mask(part["text"])}
    return part


def _mask_phones(mark: str, text: str) -> tuple[str, int]:
    count = 0
    if _DIGIT.search(text) is None:
        return text, count

    def decide(found: re.Match[str]) -> str:
        nonlocal count
        digits = sum(character.isdigit() for character in found[0])
        if not _FEWEST_DIGITS <= digits <= _MOST_DIGITS or _DATE.fullmatch(found[0]):
            return found[0]
        count += 1
        return mark

    return _PHONE.sub(decide, text), count
