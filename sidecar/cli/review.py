"""`signalops review`: look at one call after the other, and say of each what is right.

In a terminal a single key answers. Elsewhere lines are read, so that it can be scripted.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import click
import typer

from sidecar.cli.client import DEFAULT_URL, REFUSED, Api, Url, connect
from sidecar.cli.output import say

PATH = "/v1/reviews"
INTERRUPTED = 130  # what a shell says of a command that Ctrl-C ended
_COMMANDS = {"s": "skip", "q": "quit"}
_OF_DRAFTS = {"a": "approve", "e": "edit", "r": "reject"}
# Where a request has its prompt, whatever the API it was sent to.
_PROMPTS = ("instructions", "system", "messages", "input", "prompt")


@dataclass
class Session:
    """One reviewer at the terminal.

    Args:
        read: Gives the next key or line; raises EOFError when there is none.
    """

    api: Api
    reviewer: str
    group: str | None
    kind: str | None
    read: Callable[[str], str]
    counts: dict[str, int] = field(default_factory=dict)

    def run(self) -> None:
        """Hand out calls until none waits, or the reviewer has had enough."""
        while True:
            found = self.api.get(
                f"{PATH}/next", reviewer=self.reviewer, group=self.group, kind=self.kind
            )
            item = found["item"]
            if item is None:
                say("Nothing waits for a review.")
                return
            show(item)
            say(f"[{self.progress()}; {_waiting(found['waiting'])}]")
            if not self.answered(item):
                return

    def answered(self, item: Mapping[str, Any]) -> bool:
        """Ask until something is said of a call; False to stop."""
        keys = keys_of(item)
        while True:
            word = self.read(prompt_of(keys)).strip()
            chosen = keys.get(word, keys.get(word.casefold()))
            if chosen is None:
                named = [each for each in keys.values() if each.casefold() == word.casefold()]
                chosen = named[0] if named else None
            if chosen is None:
                say(f"{word[:40]!r} is none of these keys.")
                continue
            is_command = word in _COMMANDS or word in _COMMANDS.values()
            if is_command and chosen == "quit":
                return False
            body = _said(item, chosen, self.read)
            if body is not None:
                self.send(item, body, chosen)
                return True

    def send(self, item: Mapping[str, Any], body: Mapping[str, object], done: str) -> None:
        """Send an answer; one that is refused is told, and the next call comes."""
        whole = {"call_id": item["call_id"], "reviewer": self.reviewer, **body}
        try:
            self.api.post(PATH, whole)
        except typer.Exit as error:
            if error.exit_code != REFUSED:
                raise
            done = "refused"
        name = "label" if "label" in body else done
        self.counts[name] = self.counts.get(name, 0) + 1

    def progress(self) -> str:
        """Say what has been done so far."""
        done = sum(n for name, n in self.counts.items() if name not in ("skip", "refused"))
        rest = [f"{self.counts[name]} {said}" for name, said in _REST if name in self.counts]
        return ", ".join([f"{done} done", *rest])


_REST = (("skip", "skipped"), ("refused", "refused"))


def review(
    *,
    reviewer: Annotated[
        str, typer.Option(envvar=["SIGNALOPS_REVIEWER", "USER"], help="Who looks.")
    ],
    group: Annotated[str | None, typer.Option(help="Only calls of this group.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="audit or draft; drawn calls come first.")
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Review calls one by one: label judges' calls, approve, edit or reject drafts.

    Which arm or model answered is not shown. Leaving at any time loses nothing.
    """
    reader = key if sys.stdin.isatty() else line
    session = Session(connect(url), reviewer, group, kind, reader)
    try:
        session.run()
    except (KeyboardInterrupt, click.Abort):
        say(f"\nStopped: {session.progress()}.")
        raise typer.Exit(INTERRUPTED) from None
    except EOFError:
        say()
    say(f"{session.progress()}.")


def keys_of(item: Mapping[str, Any]) -> dict[str, str]:
    """Say which key means what for a call.

    Labels have their digit, and their first letter where it is theirs alone.

    Example:
        >>> keys_of({"labels": ["relevant", "maybe"]})
        {'1': 'relevant', 'r': 'relevant', '2': 'maybe', 'm': 'maybe', 's': 'skip', 'q': 'quit'}
    """
    labels: Sequence[str] = item["labels"]
    if not labels:
        return {**_OF_DRAFTS, **_COMMANDS}
    letters = [label[:1].casefold() for label in labels]
    keys: dict[str, str] = {}
    for number, (label, letter) in enumerate(zip(labels, letters, strict=True), 1):
        keys[str(number)] = label
        if letters.count(letter) == 1 and letter not in _COMMANDS and letter.isalpha():
            keys[letter] = label
    return {**keys, **_COMMANDS}


def prompt_of(keys: Mapping[str, str]) -> str:
    """Write what can be pressed."""
    by_meaning: dict[str, list[str]] = {}
    for each, meaning in keys.items():
        by_meaning.setdefault(meaning, []).append(each)
    return "  ".join(f"{'/'.join(k)} {meaning}" for meaning, k in by_meaning.items()) + " > "


def show(item: Mapping[str, Any]) -> None:
    """Print what was asked, and what was written if that is what is reviewed."""
    say(f"\n--- {item['group']}: {item['kind']} ---")
    for role, text in texts_of(item["request"]):
        say(f"{role}:")
        say(text)
    if item["text"] is not None:
        say("--- written:")
        say(item["text"])


def texts_of(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Find the texts of a request, each with who says it."""
    for name in _PROMPTS:
        if name in request:
            role = "system" if name in ("instructions", "system") else "user"
            yield from _texts(request[name], role)


def key(prompt: str) -> str:
    """Read one key, and show it."""
    click.echo(prompt, nl=False)
    found = click.getchar()
    if found in ("\x04", "\x1a"):
        raise EOFError
    click.echo(found)
    return found


def line(prompt: str) -> str:
    """Read one line."""
    click.echo(prompt, nl=False)
    found = sys.stdin.readline()
    click.echo()
    if not found:
        raise EOFError
    return found.rstrip("\r\n")


def _texts(value: object, role: str) -> Iterator[tuple[str, str]]:
    """Find the texts of messages, content parts, or a plain text."""
    if isinstance(value, str):
        yield role, value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, role)
    elif isinstance(value, dict):
        role = str(value.get("role", role))
        kind = value.get("type")
        if isinstance(value.get("text"), str):
            yield role, value["text"]
        elif "content" in value:
            yield from _texts(value["content"], role)
        elif kind is not None:
            yield role, f"({kind})"


def _said(
    item: Mapping[str, Any], chosen: str, read: Callable[[str], str]
) -> dict[str, object] | None:
    """Make the answer that was chosen; None when it came to nothing."""
    if chosen in item["labels"]:
        return {"label": chosen}
    if chosen == "skip":
        return {"skip": True}
    if chosen == "approve":
        return {"approved": True}
    if chosen == "reject":
        better = _line_of("better text, or nothing: ", read).strip()
        return {"approved": False, "better": better or None}
    edited = _edited(str(item["text"]), read)
    if edited is None:
        say("Nothing was changed; approve what is good as it is.")
        return None
    return {"edit": edited}


def _edited(text: str, read: Callable[[str], str]) -> str | None:
    """Have a text changed: in the editor, or where there is none by typing it anew."""
    has_editor = any(os.environ.get(name) for name in ("VISUAL", "EDITOR"))
    if has_editor or read is key:
        found = click.edit(text, extension=".txt")
        # Editors end the last line, whether the text did or not.
        if found is not None and not text.endswith("\n"):
            found = found.removesuffix("\n")
    else:
        found = _line_of("the text as it should be: ", read)
    return found if found and found.strip() and found != text else None


def _line_of(prompt: str, read: Callable[[str], str]) -> str:
    """Read a line, also where answers are single keys."""
    return str(input(prompt)) if read is key else read(prompt)


def _waiting(waiting: Mapping[str, Mapping[str, Any]]) -> str:
    counts = (
        f"{each['count']}{'+' if each['is_more'] else ''} {kind}"
        for kind, each in waiting.items()
    )
    return "waiting besides: " + ", ".join(counts)
