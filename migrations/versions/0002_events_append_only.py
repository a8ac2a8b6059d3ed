"""Events can only be added, and a generation keeps the configuration it came from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

REFUSE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % can only be added, not changed or removed', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END
$$
"""

APPEND_ONLY = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""


def upgrade() -> None:
    op.execute(REFUSE)
    op.execute(APPEND_ONLY)
    op.add_column(
        "generations",
        sa.Column(
            "config",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            server_default=sa.text("'{}'"),
        ),
    )


def downgrade() -> None:
    op.drop_column("generations", "config")
    op.execute("DROP TRIGGER append_only ON events")
    op.execute("DROP FUNCTION refuse_change()")
