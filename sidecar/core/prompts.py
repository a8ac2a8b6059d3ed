"""Which prompt does a recorded request hold, in the one form that trainers take?

Nothing is rebuilt: whatever the surface, every text is the request's own string, so that its
JSON is found byte for byte in the request as it was journalled. Texts are never joined. A
request that says something that this form cannot, such as a picture of Anthropic's or an
answer to go on from that only the provider has, holds no prompt for us.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

Encode = Callable[[object], bytes]
Message = Mapping[str, object]

TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
# Of OpenAI's responses: what the model saw beside the request is the provider's alone.
ELSEWHERE = ("previous_response_id", "conversation", "prompt")
_NEITHER: tuple[object, ...] = (None, [], "")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model was asked.

    Args:
        messages: One or more, in the form of OpenAI's chat; a content is a text, or a list
            of parts. With chat they are the request's own, whatever they hold.
        tools: In the form of OpenAI's chat; None when there were none.
    """

    messages: Sequence[Message]
    tools: Sequence[object] | None


class _Inexpressible(Exception):
    """The request holds something that has no place in a prompt."""


def prompt_of(surface: str, request: Mapping[str, object]) -> Prompt | None:
    """Find the prompt in a request.

    Args:
        surface: As `CallRecord` names it.
        request: The body as the client sent it.

    Returns:
        None when it holds none: an embedding, an odd body, tool calls of another surface
        than chat.

    Example:
        >>> found = prompt_of("responses", {"instructions": "Be brief.", "input": "Hi"})
        >>> [message["content"] for message in found.messages]
        ['Be brief.', 'Hi']
    """
    read = _READERS.get(surface)
    if read is None:
        return None
    try:
        prompt = read(request)
    except _Inexpressible:
        return None
    return prompt if prompt.messages else None


def parts(prompt: Prompt, encode: Encode) -> tuple[bytes, bytes | None]:
    """Write a prompt as JSON: its messages, and its tools if it has any.

    Args:
        encode: The one that the request was decoded with, see `service.documents`.
    """
    tools = None if prompt.tools is None else encode(list(prompt.tools))
    return encode(list(prompt.messages)), tools


def digest(messages: bytes, tools: bytes | None) -> bytes:
    """Give the SHA-256 that equal prompts share.

    Example:
        >>> digest(b'["a"]', None) == digest(b'["a"]', b"[]")
        False
    """
    # The messages' own hash has a fixed length, so nothing can move from one to the other.
    first = hashlib.sha256(messages).digest()
    return hashlib.sha256(first + (b"" if tools is None else tools)).digest()


def own_text(prompt: Prompt) -> str:
    """Give the text of the last message of the user: what is this prompt's own.

    Returns:
        Its parts on lines of their own; the empty text when no user said anything.
    """
    for message in reversed(prompt.messages):
        if message.get("role") == "user":
            return "\n".join(texts(message.get("content")))
    return ""


def texts(content: object) -> list[str]:
    """List the texts of a message's content."""
    if isinstance(content, str):
        return [content]
    if not isinstance(content, list):
        return []
    found = (part.get("text") for part in content if isinstance(part, dict))
    return [text for text in found if isinstance(text, str)]


def _chat(request: Mapping[str, object]) -> Prompt:
    messages = [_message(each) for each in _list(request.get("messages"))]
    if request.get("functions") not in _NEITHER:  # the form of 2023
        functions = _list(request["functions"])
        return Prompt(messages, [{"type": "function", "function": each} for each in functions])
    return Prompt(messages, _tools(request, lambda tool: tool))


def _messages(request: Mapping[str, object]) -> Prompt:
    said = [_plain(_message(each)) for each in _list(request.get("messages"))]
    return Prompt([*_before(request.get("system")), *said], _tools(request, _of_anthropic))


def _responses(request: Mapping[str, object]) -> Prompt:
    if any(request.get(name) is not None for name in ELSEWHERE):
        raise _Inexpressible
    asked = request.get("input")
    if isinstance(asked, str):
        said: list[Message] = [{"role": "user", "content": asked}]
    else:
        said = [_item(each) for each in _list(asked)]
    before = _before(request.get("instructions"))
    return Prompt([*before, *said], _tools(request, _of_responses))


_READERS: Mapping[str, Callable[[Mapping[str, object]], Prompt]] = {
    "chat": _chat,
    "messages": _messages,
    "responses": _responses,
}


def _before(system: object) -> Iterable[Message]:
    """Give what stands before the messages as one of them; nothing when it is not there."""
    return () if system in _NEITHER else ({"role": "system", "content": _content(system)},)


def _message(found: object) -> Message:
    if not isinstance(found, dict) or not isinstance(found.get("role"), str):
        raise _Inexpressible
    return found


def _plain(message: Message) -> Message:
    """Keep a message's role and content, which must be text."""
    return {"role": message["role"], "content": _content(message.get("content"))}


def _item(found: object) -> Message:
    if not isinstance(found, dict) or found.get("type", "message") != "message":
        raise _Inexpressible  # a tool's call or result, or a reference to the provider's own
    return _plain(_message(found))


def _content(found: object) -> str | list[Message]:
    """Give a content of texts: a text that stands alone as itself, several as parts."""
    if isinstance(found, str):
        return found
    said = [_text(part) for part in _list(found)]
    if not said:
        raise _Inexpressible
    return said[0] if len(said) == 1 else [{"type": "text", "text": each} for each in said]


def _text(part: object) -> str:
    text = part.get("text") if isinstance(part, dict) else None
    if not isinstance(part, dict) or part.get("type") not in TEXT_PARTS:
        raise _Inexpressible
    if not isinstance(text, str):
        raise _Inexpressible
    return text


def _tools(
    request: Mapping[str, object], read: Callable[[object], object]
) -> Sequence[object] | None:
    found = request.get("tools")
    return None if found in _NEITHER else [read(tool) for tool in _list(found)]


def _of_anthropic(tool: object) -> object:
    # The provider's own tools, such as its web search, have no schema to show.
    if not isinstance(tool, dict) or "input_schema" not in tool:
        raise _Inexpressible
    return _function(tool, "input_schema")


def _of_responses(tool: object) -> object:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise _Inexpressible
    return _function(tool, "parameters")


def _function(tool: Mapping[str, object], schema: str) -> object:
    """Give a tool the form that it has in OpenAI's chat."""
    function = {name: tool[name] for name in ("name", "description", "strict") if name in tool}
    if schema in tool:
        function["parameters"] = tool[schema]
    return {"type": "function", "function": function}


def _list(found: object) -> list[object]:
    if not isinstance(found, list):
        raise _Inexpressible
    return found
