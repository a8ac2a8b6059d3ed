"""Requests for Hypothesis: JSON with everything in it that has ever been read wrong."""

import hashlib

from hypothesis import strategies as st

from sidecar.core.contents import SHARED_BYTES

LONG = "Judge with care. " * 300
MARKER = {"$content": hashlib.sha256(b"x").hexdigest()}

texts = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    [LONG, LONG[:SHARED_BYTES], "a\x00b", "\ud800", '{"$content":"', "\U0001f600"]
)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
    | st.sampled_from([1, 1.0, -0.0, 1e-7, -2.5e-5, "1e-05", '"e-07\\', 2**63, -(2**90)])
    | st.just(MARKER)
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "developer", "assistant"])},
        optional={"content": texts | values, "name": texts},
    ),
    max_size=4,
)
bodies = st.dictionaries(
    texts | st.sampled_from(["messages", "system", "tools", "role"]), values, max_size=5
) | st.fixed_dictionaries({"model": texts, "messages": messages})
