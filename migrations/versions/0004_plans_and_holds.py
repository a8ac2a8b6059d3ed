"""Experiments carry a plan, and an ended one can hold its group."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("experiments", sa.Column("plan", postgresql.JSONB(astext_type=sa.Text())))
    op.add_column("experiments", sa.Column("held_arm", sa.Text()))
    op.add_column("experiments", sa.Column("held_yaml_hash", sa.Text()))


def downgrade() -> None:
    op.drop_column("experiments", "held_yaml_hash")
    op.drop_column("experiments", "held_arm")
    op.drop_column("experiments", "plan")
