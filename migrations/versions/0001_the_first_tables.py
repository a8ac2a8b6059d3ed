"""The first tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text()),
        sa.Column("surface", sa.Text(), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("requested_model", sa.Text(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.Text()),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("unit_source", sa.Text(), nullable=False),
        sa.Column("bucket", sa.SmallInteger()),
        sa.Column("assigned_arm", sa.Text(), nullable=False),
        sa.Column("share_bp", sa.SmallInteger(), nullable=False),
        sa.Column("served_deployment", sa.Text()),
        sa.Column("served_arm", sa.Text()),
        sa.Column("provider_model", sa.Text()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("attempts", JSONB, nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("verdict_label", sa.Text()),
        sa.Column("verdict_confidence", sa.Double()),
        sa.Column("verdict_reasoning", sa.Text()),
        sa.Column("verdict_failure", sa.Text()),
        sa.Column("finish_reason", sa.Text()),
        sa.Column("prompt_tokens", sa.BigInteger()),
        sa.Column("completion_tokens", sa.BigInteger()),
        sa.Column("cached_tokens", sa.BigInteger()),
        sa.Column("cost_usd", sa.Double()),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.Column("ttft_ms", sa.Double()),
        sa.Column("status", sa.SmallInteger()),
        sa.Column("error_class", sa.Text()),
        sa.Column("metadata", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("call_id", "started_at", name=op.f("pk_calls")),
        postgresql_partition_by="RANGE (started_at)",
    )
    op.create_index(
        op.f("ix_calls_experiment_id_epoch_stage_assigned_arm"),
        "calls",
        ["experiment_id", "epoch", "stage", "assigned_arm"],
    )
    op.create_index(op.f("ix_calls_project_id_call_id"), "calls", ["project_id", "call_id"])
    op.create_table(
        "contents",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_contents")),
    )
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("detail", JSONB, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_subject_id"), "events", ["subject", "id"])
    op.create_table(
        "experiments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("salt", sa.Text(), nullable=False),
        sa.Column("arms", JSONB, nullable=False),
        sa.Column("share_bp", JSONB, nullable=False),
        sa.Column("unit", sa.Text()),
        sa.Column("hypothesis", sa.Text()),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text()),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.CheckConstraint(
            "(status = 'completed') = (outcome is not null)",
            name=op.f("ck_experiments_outcome"),
        ),
        sa.CheckConstraint(
            "status in ('draft','active','paused','completed')",
            name=op.f("ck_experiments_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
    )
    op.create_index(
        "uq_experiments_running_group",
        "experiments",
        ["group_name", "owner"],
        unique=True,
        postgresql_where=sa.text("status in ('active','paused')"),
    )
    op.create_table(
        "generations",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("routes", JSONB, nullable=False),
        sa.Column("published_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_generations")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("response", JSONB, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key", "actor", name=op.f("pk_idempotency_keys")),
    )
    op.create_table(
        "journal_segments",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("drained_bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_journal_segments")),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("scopes", ARRAY(sa.Text()), nullable=False),
        sa.Column("models", ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", MOMENT),
        sa.Column("revoked_at", MOMENT),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_keys_digest")),
    )
    op.create_table(
        "models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("type in ('judge','drafter')", name=op.f("ck_models_type")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_models")),
    )
    op.create_table(
        "pending_enrichments",
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("cost_usd", sa.Double()),
        sa.Column("prompt_tokens", sa.BigInteger()),
        sa.Column("completion_tokens", sa.BigInteger()),
        sa.Column("cached_tokens", sa.BigInteger()),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_pending_enrichments")),
    )
    op.create_table(
        "workers",
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("ended_at", MOMENT, nullable=False),
        sa.Column("gauges", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("writer", name=op.f("pk_workers")),
    )
    op.create_table(
        "stages",
        sa.Column("experiment_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("share_bp", JSONB, nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_stages_experiment_id_experiments"),
        ),
        sa.PrimaryKeyConstraint("experiment_id", "epoch", "stage", name=op.f("pk_stages")),
    )
    op.create_table(
        "versions",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("base_model", sa.Text()),
        sa.Column("api_base", sa.Text()),
        sa.Column("api_key_env", sa.Text()),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["name"], ["models.name"], name=op.f("fk_versions_name_models")
        ),
        sa.PrimaryKeyConstraint("name", "number", name=op.f("pk_versions")),
    )
    op.create_index(
        "uq_versions_active",
        "versions",
        ["name"],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )
    op.create_index("uq_versions_model_id", "versions", ["model_id"], unique=True)


def downgrade() -> None:
    op.drop_table("versions")
    op.drop_table("stages")
    op.drop_table("workers")
    op.drop_table("pending_enrichments")
    op.drop_table("models")
    op.drop_table("keys")
    op.drop_table("journal_segments")
    op.drop_table("idempotency_keys")
    op.drop_table("generations")
    op.drop_table("experiments")
    op.drop_table("events")
    op.drop_table("counters")
    op.drop_table("contents")
    op.drop_table("calls")
