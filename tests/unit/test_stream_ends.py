"""Is a stream that ends without its surface's last event known to be cut off?"""

from types import SimpleNamespace
from typing import Any

import pytest

from callbacks.payload.stream import StreamReader

DELTA = b'event: content_block_delta\ndata: {"delta": {"text": "The ans"}}\n\n'
STOP = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
CHUNK = SimpleNamespace(choices=[SimpleNamespace(delta=None, finish_reason=None)])
COMPLETED = SimpleNamespace(type="response.completed")
PROGRESS = SimpleNamespace(type="response.output_text.delta")


@pytest.mark.parametrize(
    ("pieces", "is_whole"),
    [
        pytest.param([DELTA, STOP], True, id="messages, whole"),
        pytest.param([DELTA, STOP[:12], STOP[12:]], True, id="messages, cut into pieces"),
        pytest.param([DELTA.decode(), STOP.decode()], True, id="messages, as text"),
        pytest.param([DELTA], False, id="messages, cut off"),
        pytest.param([PROGRESS, COMPLETED], True, id="responses, whole"),
        pytest.param([PROGRESS], False, id="responses, cut off"),
        pytest.param([CHUNK], True, id="chat, which LiteLLM ends"),
        pytest.param([], True, id="nothing"),
    ],
)
def test_a_stream_without_its_last_event_is_not_whole(
    pieces: list[Any], is_whole: bool
) -> None:
    reader = StreamReader()
    for piece in pieces:
        reader.feed(piece)
    assert reader.is_whole() is is_whole
