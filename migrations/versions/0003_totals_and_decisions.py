"""Plans, exact totals, feedback and decisions; a call knows how it was drawn for the audit."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
OLD_INDEX = "ix_calls_experiment_id_epoch_stage_assigned_arm"
NEW_INDEX = "ix_calls_experiment_id_epoch_stage_assigned_arm_call_id"
CELL = ("experiment_id", "epoch", "stage", "assigned_arm")
TABLES = (
    "epochs",
    "totals",
    "unit_totals",
    "unit_values",
    "feedback",
    "looks",
    "decisions",
)

# The logarithms of new calls are computed before they are stored (`core.facts.ll_of`).
LOGARITHMS = """
UPDATE calls SET
    ll = round(ln(least(greatest(latency_ms, 0.001), 1e12)) * 1e6),
    ttft_ll = round(ln(least(greatest(ttft_ms, 0.001), 1e12)) * 1e6)
"""

APPEND_ONLY = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""

# What a decision led to is known only after it; each of the two is written once.
FILLED_ONCE = """
CREATE FUNCTION refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(NEW) - 'generation' - 'undone_by'
        IS DISTINCT FROM to_jsonb(OLD) - 'generation' - 'undone_by'
        OR NEW.generation IS DISTINCT FROM coalesce(OLD.generation, NEW.generation)
        OR NEW.undone_by IS DISTINCT FROM coalesce(OLD.undone_by, NEW.undone_by)
    THEN
        RAISE EXCEPTION 'rows of % can only be added, not changed or removed', TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END
$$
"""
DECISIONS = (
    """
    CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON decisions
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
    """,
    """
    CREATE TRIGGER filled_once BEFORE UPDATE ON decisions
        FOR EACH ROW EXECUTE FUNCTION refuse_rewriting()
    """,
)


def upgrade() -> None:
    op.add_column("calls", sa.Column("ll", sa.Integer()))
    op.add_column("calls", sa.Column("ttft_ll", sa.Integer()))
    op.add_column("calls", sa.Column("audit_ppm", sa.Integer()))
    op.add_column(
        "calls",
        sa.Column("is_drawn", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.execute(LOGARITHMS)
    op.alter_column("calls", "ll", nullable=False)
    op.drop_index(OLD_INDEX, "calls")
    op.create_index(NEW_INDEX, "calls", [*CELL, "call_id"])
    op.create_index(
        "ix_calls_drawn",
        "calls",
        ["experiment_id", "call_id"],
        postgresql_where=sa.text("is_drawn"),
    )
    _create_totals()
    _create_feedback()
    _create_decisions()
    for table in ("epochs", "looks"):
        op.execute(APPEND_ONLY.format(table=table))
    op.execute(FILLED_ONCE)
    for trigger in DECISIONS:
        op.execute(trigger)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    op.execute("DROP FUNCTION refuse_rewriting()")
    op.drop_index("ix_calls_drawn", "calls")
    op.drop_index(NEW_INDEX, "calls")
    op.create_index(OLD_INDEX, "calls", [*CELL])
    for column in ("is_drawn", "audit_ppm", "ttft_ll", "ll"):
        op.drop_column("calls", column)


def _create_totals() -> None:
    key = ("experiment_id", "epoch", "stage")
    op.create_table(
        "totals",
        *_columns(*key, "arm", "name"),
        sa.Column("value", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint(*key, "arm", "name", name=op.f("pk_totals")),
        postgresql_with={"fillfactor": 70},
    )
    sums = ("n", "bad", "slow", "ll", "cost", "w", "wy")
    op.create_table(
        "unit_totals",
        *_columns(*key, "unit_id", "arm"),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in sums),
        sa.PrimaryKeyConstraint(*key, "unit_id", "arm", name=op.f("pk_unit_totals")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_table(
        "unit_values",
        *_columns(*key, "unit_id", "arm", "name"),
        sa.Column("w", sa.Numeric(), nullable=False),
        sa.Column("wv", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint(*key, "unit_id", "arm", "name", name=op.f("pk_unit_values")),
    )


def _create_feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("call_id", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        *_columns("project_id", "name", "source", "reviewer"),
        sa.Column("label", sa.Text()),
        sa.Column("value", sa.BigInteger()),
        sa.Column("is_boolean", sa.Boolean(), nullable=False),
        sa.Column("comment", sa.Text()),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("supersedes", sa.BigInteger()),
        sa.Column("first_id", sa.BigInteger()),
        sa.CheckConstraint(
            "source in ('audit','correction','judge')", name=op.f("ck_feedback_source")
        ),
        sa.CheckConstraint(
            "(label is null) <> (value is null)", name=op.f("ck_feedback_label_or_value")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feedback")),
    )
    op.create_index(
        "uq_feedback_current",
        "feedback",
        ["call_id", "name", "source", "reviewer"],
        unique=True,
        postgresql_where=sa.text("is_current"),
    )
    op.create_index(op.f("ix_feedback_call_id_id"), "feedback", ["call_id", "id"])


def _create_decisions() -> None:
    op.create_table(
        "epochs",
        *_columns("experiment_id", "epoch"),
        sa.Column("plan", JSONB, nullable=False),
        sa.Column("plan_hash", sa.Text(), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("experiment_id", "epoch", name=op.f("pk_epochs")),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_epochs_experiment_id_experiments"),
        ),
    )
    op.create_table(
        "looks",
        *_columns("experiment_id", "epoch", "look"),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("numbers", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "epoch", "look", name=op.f("pk_looks")),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        *_columns("experiment_id", "epoch", "look"),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("action", JSONB, nullable=False),
        sa.Column("reasons", ARRAY(sa.Text()), nullable=False),
        sa.Column("numbers", JSONB, nullable=False),
        sa.Column("plan_hash", sa.Text(), nullable=False),
        sa.Column("share_bp", JSONB, nullable=False),
        sa.Column("generation", sa.BigInteger()),
        sa.Column("undone_by", sa.BigInteger()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_index(op.f("ix_decisions_experiment_id_id"), "decisions", ["experiment_id", "id"])


def _columns(*names: str) -> tuple[sa.Column[object], ...]:
    """Make the columns of a key: numbers for `epoch`, `stage` and `look`, else text."""
    numbers = ("epoch", "stage", "look")
    return tuple(
        sa.Column(name, sa.Integer() if name in numbers else sa.Text(), nullable=False)
        for name in names
    )
