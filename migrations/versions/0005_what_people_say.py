"""Feedback of every kind, preference pairs, the review queue, datasets; calls by their answer."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
TABLES = (
    "completions",
    "pairs",
    "pair_grounds",
    "refused_pairs",
    "review_locks",
    "review_skips",
    "datasets",
    "dataset_rows",
)
KINDS = "'label','approve','edit','reject','score','flag','comment','choice','pair'"
# What the words of before were, by their name and type.
OLD_KINDS = """
UPDATE feedback SET kind = CASE
    WHEN label IS NOT NULL THEN 'label'
    WHEN name = 'approved' AND value > 0 THEN 'approve'
    WHEN name = 'approved' THEN 'reject'
    WHEN is_boolean THEN 'flag' ELSE 'score' END
"""
APPEND_ONLY = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""


def upgrade() -> None:
    op.add_column("calls", sa.Column("response_id", sa.Text()))
    op.create_index(
        "ix_calls_response_id",
        "calls",
        ["response_id"],
        postgresql_where=sa.text("response_id is not null"),
    )
    op.create_index(
        "ix_calls_drafts",
        "calls",
        ["project_id", "group_name", "call_id"],
        postgresql_where=sa.text("task = 'draft'"),
    )
    _widen_feedback()
    _create_pairs()
    _create_reviews_and_datasets()
    for table in ("pairs", "datasets", "dataset_rows"):
        op.execute(APPEND_ONLY.format(table=table))


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    # Words that the older schema has no form for go with it.
    op.execute("DELETE FROM feedback WHERE (label IS NULL) = (value IS NULL)")
    op.execute("DELETE FROM feedback WHERE source = 'review' OR kind IN ('choice', 'pair')")
    op.drop_index("uq_feedback_key", "feedback")
    op.drop_index("ix_feedback_audited", "feedback")
    op.drop_index("ix_feedback_supersedes", "feedback")
    op.drop_index("ix_feedback_other_call_id", "feedback")
    for name in ("kind", "source", "label_or_value"):
        op.drop_constraint(op.f(f"ck_feedback_{name}"), "feedback")
    for name in ("kind", "text", "rejected", "other_call_id", "key"):
        op.drop_column("feedback", name)
    op.create_check_constraint(
        op.f("ck_feedback_source"), "feedback", "source in ('audit','correction','judge')"
    )
    op.create_check_constraint(
        op.f("ck_feedback_label_or_value"), "feedback", "(label is null) <> (value is null)"
    )
    op.drop_index("ix_calls_drafts", "calls")
    op.drop_index("ix_calls_response_id", "calls")
    op.drop_column("calls", "response_id")


def _widen_feedback() -> None:
    op.add_column("feedback", sa.Column("kind", sa.Text()))
    op.execute(OLD_KINDS)
    op.alter_column("feedback", "kind", nullable=False)
    for name in ("text", "rejected", "other_call_id", "key"):
        op.add_column("feedback", sa.Column(name, sa.Text()))
    for name in ("source", "label_or_value"):
        op.drop_constraint(op.f(f"ck_feedback_{name}"), "feedback")
    for name, rule in (
        ("kind", f"kind in ({KINDS})"),
        ("source", "source in ('audit','correction','judge','review')"),
        ("label_or_value", "label is null or value is null"),
    ):
        op.create_check_constraint(op.f(f"ck_feedback_{name}"), "feedback", rule)
    op.create_index(
        "uq_feedback_key",
        "feedback",
        ["project_id", "key"],
        unique=True,
        postgresql_where=sa.text("key is not null"),
    )
    op.create_index(
        "ix_feedback_audited",
        "feedback",
        ["project_id", "call_id"],
        postgresql_where=sa.text("is_current and kind = 'label' and source = 'audit'"),
    )
    op.create_index(
        "ix_feedback_other_call_id",
        "feedback",
        ["other_call_id"],
        postgresql_where=sa.text("other_call_id is not null"),
    )
    op.create_index(
        "ix_feedback_supersedes",
        "feedback",
        ["supersedes"],
        postgresql_where=sa.text("supersedes is not null"),
    )


def _create_pairs() -> None:
    op.create_table(
        "completions",
        sa.Column("feedback_id", sa.BigInteger(), nullable=False),
        sa.Column("is_good", sa.Boolean(), nullable=False),
        *_columns("project_id", "group_name", "prompt_hash", "call_id", "text"),
        sa.Column("model", sa.Text()),
        sa.PrimaryKeyConstraint("feedback_id", "is_good", name=op.f("pk_completions")),
        _of_feedback("completions"),
    )
    op.create_index(
        op.f("ix_completions_project_id_group_name_prompt_hash"),
        "completions",
        ["project_id", "group_name", "prompt_hash"],
    )
    op.create_table(
        "pairs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        *_columns("project_id", "group_name", "content_hash", "origin", "prompt_hash"),
        *_columns("call_id", "chosen", "rejected"),
        sa.Column("chosen_model", sa.Text()),
        sa.Column("rejected_model", sa.Text()),
        sa.Column("at", MOMENT, nullable=False),
        sa.CheckConstraint(
            "origin in ('edit','rejection','choice','label','manual')",
            name=op.f("ck_pairs_origin"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pairs")),
    )
    op.create_index(
        "uq_pairs_content", "pairs", ["project_id", "group_name", "content_hash"], unique=True
    )
    op.create_index(op.f("ix_pairs_project_id_id"), "pairs", ["project_id", "id"])
    op.create_table(
        "pair_grounds",
        sa.Column("pair_id", sa.BigInteger(), nullable=False),
        sa.Column("feedback_id", sa.BigInteger(), nullable=False),
        sa.Column("with_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint(
            "pair_id", "feedback_id", "with_id", name=op.f("pk_pair_grounds")
        ),
        sa.ForeignKeyConstraint(
            ["pair_id"], ["pairs.id"], name=op.f("fk_pair_grounds_pair_id_pairs")
        ),
        _of_feedback("pair_grounds"),
    )
    op.create_index(op.f("ix_pair_grounds_feedback_id"), "pair_grounds", ["feedback_id"])
    op.create_table(
        "refused_pairs",
        sa.Column("feedback_id", sa.BigInteger(), nullable=False),
        *_columns("project_id", "reason"),
        sa.PrimaryKeyConstraint("feedback_id", name=op.f("pk_refused_pairs")),
        _of_feedback("refused_pairs"),
    )
    op.create_index(
        op.f("ix_refused_pairs_project_id_reason"), "refused_pairs", ["project_id", "reason"]
    )


def _create_reviews_and_datasets() -> None:
    op.create_table(
        "review_locks",
        *_columns("call_id", "project_id", "reviewer"),
        sa.Column("until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("call_id", name=op.f("pk_review_locks")),
    )
    op.create_table(
        "review_skips",
        *_columns("reviewer", "call_id"),
        sa.Column("until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("reviewer", "call_id", name=op.f("pk_review_skips")),
    )
    op.create_table(
        "datasets",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        *_columns("id", "hash", "project_id", "kind"),
        sa.Column("spec", JSONB, nullable=False),
        sa.Column("manifest", JSONB, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint("kind in ('sft','dpo','kto')", name=op.f("ck_datasets_kind")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_datasets")),
    )
    op.create_index("uq_datasets_id", "datasets", ["id"], unique=True)
    op.create_index(op.f("ix_datasets_project_id_number"), "datasets", ["project_id", "number"])
    op.create_table(
        "dataset_rows",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        *_columns("split", "call_id"),
        sa.Column("label", sa.Text()),
        *_columns("prompt"),
        sa.Column("tools", sa.LargeBinary()),
        *_columns("chosen"),
        sa.Column("rejected", sa.LargeBinary()),
        sa.Column("is_good", sa.Boolean()),
        sa.CheckConstraint(
            "split in ('train','validation','holdout')", name=op.f("ck_dataset_rows_split")
        ),
        sa.PrimaryKeyConstraint("number", "position", name=op.f("pk_dataset_rows")),
    )


def _columns(*names: str) -> tuple[sa.Column[object], ...]:
    """Make columns that are never null: bytes for contents and their hashes, else text."""
    contents = ("prompt_hash", "content_hash", "prompt", "chosen", "rejected", "text")
    return tuple(
        sa.Column(name, sa.LargeBinary() if name in contents else sa.Text(), nullable=False)
        for name in names
    )


def _of_feedback(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["feedback_id"], ["feedback.id"], name=op.f(f"fk_{table}_feedback_id_feedback")
    )
