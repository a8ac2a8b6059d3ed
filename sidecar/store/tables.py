"""The schema: every table, column and key, with what a column means where its name does not.

Migrations are made from this file and compared with it (`alembic check`).
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Moment = DateTime(timezone=True)

calls = Table(
    "calls",
    metadata,
    # Months are partitions, so the key holds the moment; it is the call id's own, to the
    # millisecond, so that one call id can only ever be one row.
    Column("call_id", Text, primary_key=True),
    Column("started_at", Moment, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("key_id", Text),
    Column("surface", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("requested_model", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("experiment_id", Text),
    Column("epoch", Integer, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("unit_id", Text, nullable=False),
    Column("unit_source", Text, nullable=False),
    Column("bucket", SmallInteger),
    Column("assigned_arm", Text, nullable=False),
    Column("share_bp", SmallInteger, nullable=False),
    Column("served_deployment", Text),
    Column("served_arm", Text),
    Column("provider_model", Text),
    Column("outcome", Text, nullable=False),
    Column("attempts", JSONB, nullable=False),
    # The body with its large parts replaced by their hashes; `contents` has the parts.
    Column("request", LargeBinary, nullable=False),
    Column("request_hash", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),  # JSON, UTF-8: text may hold a NUL
    Column("verdict_label", Text),
    Column("verdict_confidence", Double),
    Column("verdict_reasoning", Text),
    Column("verdict_failure", Text),
    Column("finish_reason", Text),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("cost_usd", Double),  # null: the price is unknown
    Column("latency_ms", Double, nullable=False),
    Column("ttft_ms", Double),
    Column("status", SmallInteger),
    Column("error_class", Text),
    Column("metadata", JSONB, nullable=False),
    # Logarithms of latency and time to first token, in millionths: computed once, for two
    # ways of computing them may differ in the last digit.
    Column("ll", Integer, nullable=False),
    Column("ttft_ll", Integer),
    Column("audit_ppm", Integer),  # chance to be drawn for the audit; null: could not be
    Column("is_drawn", Boolean, nullable=False, server_default=text("false")),
    Column("response_id", Text),  # the answer's, as the client saw it; may not be unique
    # With the call id, so that an arm's newest calls within a stage are found at once.
    Index(None, "experiment_id", "epoch", "stage", "assigned_arm", "call_id"),
    Index(
        "ix_calls_response_id",
        "response_id",
        postgresql_where=text("response_id is not null"),
    ),
    Index("ix_calls_drawn", "experiment_id", "call_id", postgresql_where=text("is_drawn")),
    Index(None, "project_id", "call_id"),  # ids sort by time, so this pages a project
    # A group's newest drafts, which wait for somebody to approve them.
    Index(
        "ix_calls_drafts",
        "project_id",
        "group_name",
        "call_id",
        postgresql_where=text("task = 'draft'"),
    ),
    postgresql_partition_by="RANGE (started_at)",
)

contents = Table(
    "contents",
    metadata,
    Column("hash", LargeBinary, primary_key=True),  # SHA-256 of `body`
    Column("body", LargeBinary, nullable=False),  # JSON, UTF-8
)

# What is known of calls whose own line has not been drained yet.
pending_enrichments = Table(
    "pending_enrichments",
    metadata,
    Column("call_id", Text, primary_key=True),
    Column("started_at", Moment, nullable=False),  # the call id's own, to find its month
    Column("cost_usd", Double),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
)

journal_segments = Table(
    "journal_segments",
    metadata,
    Column("name", Text, primary_key=True),
    Column("drained_bytes", BigInteger, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),  # lines, stored, repeated, quarantined, ...
    Column("value", BigInteger, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("writer", Text, primary_key=True),
    Column("ended_at", Moment, nullable=False),
    Column("gauges", JSONB, nullable=False),  # a dead worker's last numbers
)

experiments = Table(
    "experiments",
    metadata,
    Column("id", Text, primary_key=True),
    Column("group_name", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("salt", Text, nullable=False),
    Column("arms", JSONB, nullable=False),
    Column("share_bp", JSONB, nullable=False),
    Column("unit", Text),
    Column("hypothesis", Text),
    Column("plan", JSONB),  # of the present epoch; null: begun before there were plans
    Column("status", Text, nullable=False),
    Column("outcome", Text),
    Column("epoch", Integer, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("version", Integer, nullable=False),  # the ETag
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("held_arm", Text),  # what an end left in force, until the YAML's group is edited
    Column("held_yaml_hash", Text),
    CheckConstraint("status in ('draft','active','paused','completed')", name="status"),
    CheckConstraint("(status = 'completed') = (outcome is not null)", name="outcome"),
    # One experiment owns a group; the YAML's own steps aside while it does.
    Index(
        "uq_experiments_running_group",
        "group_name",
        "owner",
        unique=True,
        postgresql_where=text("status in ('active','paused')"),
    ),
)

stages = Table(
    "stages",
    metadata,
    Column("experiment_id", Text, ForeignKey("experiments.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("stage", Integer, primary_key=True),
    Column("share_bp", JSONB, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("ended_at", Moment),
)

events = Table(
    "events",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("subject", Text, nullable=False),  # experiment:<id>, model:<name>, key:<id>
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text),
    Column("detail", JSONB, nullable=False),
    Column("at", Moment, nullable=False),
    Index(None, "subject", "id"),
)

generations = Table(
    "generations",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("hash", Text, nullable=False),
    Column("routes", JSONB, nullable=False),
    Column("published_at", Moment, nullable=False),
    # The YAML's model_list it was made from, without keys: what counts while a later YAML
    # is invalid, even after a restart.
    Column("config", JSONB, nullable=False, server_default=text("'{}'")),
)

models = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    CheckConstraint("type in ('judge','drafter')", name="type"),
)

versions = Table(
    "versions",
    metadata,
    Column("name", Text, ForeignKey("models.name"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("model_id", Text, nullable=False),  # the provider's own id
    Column("provider", Text, nullable=False),
    Column("base_model", Text),
    Column("api_base", Text),
    Column("api_key_env", Text),  # the name of a variable, never a key
    Column("is_active", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Index("uq_versions_model_id", "model_id", unique=True),
    Index(
        "uq_versions_active",
        "name",
        unique=True,
        postgresql_where=text("is_active"),
    ),
)

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),  # SHA-256 (hex) of the key
    Column("project_id", Text, nullable=False),
    Column("name", Text),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("models", ARRAY(Text), nullable=False),  # empty: every group
    Column("created_at", Moment, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("key", Text, primary_key=True),
    Column("actor", Text, primary_key=True),
    Column("request_hash", Text, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("response", JSONB, nullable=False),
    Column("created_at", Moment, nullable=False),
)
