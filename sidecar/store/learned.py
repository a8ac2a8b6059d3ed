"""The schema's third part: what people said of calls, and what a trainer can learn from it."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from sidecar.store.tables import Moment, metadata

# A row for every word; a superseded one stays, no longer current.
feedback = Table(
    "feedback",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("call_id", Text, nullable=False),
    Column("started_at", Moment, nullable=False),  # the call's, to find its month
    Column("project_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # What a later word of the same reviewer supersedes: `label`, `approved`, or any other.
    Column("name", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("label", Text),
    Column("value", BigInteger),  # in millionths; 0 or 1,000,000 for a boolean
    Column("is_boolean", Boolean, nullable=False),
    Column("text", Text),  # of an edit or a pair: the good text; of a rejection: a better one
    Column("rejected", Text),  # of a pair
    Column("other_call_id", Text),  # of a choice; sorts after `call_id`
    Column("comment", Text),
    Column("key", Text),  # the client's, by which a repeated word is known
    Column("at", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("is_current", Boolean, nullable=False),
    Column("supersedes", BigInteger),  # what the same reviewer said before
    Column("first_id", BigInteger),  # what the reviewer said first; null: this
    CheckConstraint(
        "kind in ('label','approve','edit','reject','score','flag','comment','choice','pair')",
        name="kind",
    ),
    CheckConstraint("source in ('audit','correction','judge','review')", name="source"),
    CheckConstraint("label is null or value is null", name="label_or_value"),
    Index(
        "uq_feedback_current",
        "call_id",
        "name",
        "source",
        "reviewer",
        unique=True,
        postgresql_where=text("is_current"),
    ),
    Index(
        "uq_feedback_key",
        "project_id",
        "key",
        unique=True,
        postgresql_where=text("key is not null"),
    ),
    Index(None, "call_id", "id"),
    # What agreement between reviewers is read from: a human's words, so few.
    Index(
        "ix_feedback_audited",
        "project_id",
        "call_id",
        postgresql_where=text("is_current and kind = 'label' and source = 'audit'"),
    ),
    Index(
        "ix_feedback_other_call_id",
        "other_call_id",
        postgresql_where=text("other_call_id is not null"),
    ),
    Index(
        "ix_feedback_supersedes",
        "supersedes",
        postgresql_where=text("supersedes is not null"),
    ),
)

# A text that somebody called good or bad as the answer to a prompt. It counts as long as
# the word that it stands on is current.
completions = Table(
    "completions",
    metadata,
    Column("feedback_id", BigInteger, ForeignKey("feedback.id"), primary_key=True),
    Column("is_good", Boolean, primary_key=True),  # an edit gives one of each
    Column("project_id", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("prompt_hash", LargeBinary, nullable=False),  # see `core.prompts`
    Column("call_id", Text, nullable=False),  # whose exact request is the prompt
    Column("text", LargeBinary, nullable=False),  # a JSON string: it may hold a NUL
    Column("model", Text),  # what wrote it; null: a person did
    Index(None, "project_id", "group_name", "prompt_hash"),
)

# Two texts for one prompt, of which one was preferred. Never changed: what supports a pair
# are its grounds, and it counts as long as one of them is current.
pairs = Table(
    "pairs",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),  # of prompt, chosen and rejected
    Column("origin", Text, nullable=False),
    Column("prompt_hash", LargeBinary, nullable=False),
    Column("call_id", Text, nullable=False),  # whose exact request is the prompt
    Column("chosen", LargeBinary, nullable=False),  # a JSON string
    Column("rejected", LargeBinary, nullable=False),  # a JSON string
    Column("chosen_model", Text),  # what wrote it; null: a person did
    Column("rejected_model", Text),
    Column("at", Moment, nullable=False),
    CheckConstraint("origin in ('edit','rejection','choice','label','manual')", name="origin"),
    Index("uq_pairs_content", "project_id", "group_name", "content_hash", unique=True),
    Index(None, "project_id", "id"),
)

pair_grounds = Table(
    "pair_grounds",
    metadata,
    Column("pair_id", BigInteger, ForeignKey("pairs.id"), primary_key=True),
    Column("feedback_id", BigInteger, ForeignKey("feedback.id"), primary_key=True),
    # The word that gave the better text, when a rejection alone did not: the ground holds
    # only as long as both are current. 0: it needs no other word.
    Column("with_id", BigInteger, primary_key=True, server_default=text("0")),
    Index(None, "feedback_id"),
)

# Why a word that could have given a pair gave none.
refused_pairs = Table(
    "refused_pairs",
    metadata,
    Column("feedback_id", BigInteger, ForeignKey("feedback.id"), primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index(None, "project_id", "reason"),
)

# Who is looking at a call now, so that nobody else is handed it.
review_locks = Table(
    "review_locks",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("until", Moment, nullable=False),
)

# Who does not want to be handed a call again for a while.
review_skips = Table(
    "review_skips",
    metadata,
    Column("reviewer", Text, primary_key=True),
    Column("call_id", Text, primary_key=True),
    Column("until", Moment, nullable=False),
)

datasets = Table(
    "datasets",
    metadata,
    Column("number", BigInteger, Identity(always=True), primary_key=True),
    Column("id", Text, nullable=False),  # `ds-` and the beginning of `hash`
    Column("hash", Text, nullable=False),  # SHA-256 (hex) of its rows, in their order
    Column("project_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("spec", JSONB, nullable=False),  # what was asked for
    Column("manifest", JSONB, nullable=False),  # what came of it
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    CheckConstraint("kind in ('sft','dpo','kto')", name="kind"),
    Index("uq_datasets_id", "id", unique=True),
    Index(None, "project_id", "number"),
)

# A dataset keeps its own bytes: what happens to the calls later does not touch it.
dataset_rows = Table(
    "dataset_rows",
    metadata,
    Column("number", BigInteger, primary_key=True),  # the dataset's
    Column("position", Integer, primary_key=True),  # from 0
    Column("split", Text, nullable=False),
    Column("call_id", Text, nullable=False),
    Column("label", Text),  # of a judge's row
    Column("prompt", LargeBinary, nullable=False),  # a JSON list of messages
    Column("tools", LargeBinary),  # a JSON list
    Column("chosen", LargeBinary, nullable=False),  # a JSON string; of kto: the completion
    Column("rejected", LargeBinary),  # a JSON string; of dpo only
    Column("is_good", Boolean),  # of kto only
    CheckConstraint("split in ('train','validation','holdout')", name="split"),
)
