"""The schema's second part: plans, totals, and what was decided from them."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from sidecar.store.tables import Moment, metadata

# The analysis plan of each epoch, frozen when the epoch starts.
epochs = Table(
    "epochs",
    metadata,
    Column("experiment_id", Text, ForeignKey("experiments.id"), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("plan", JSONB, nullable=False),
    Column("plan_hash", Text, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("started_by", Text, nullable=False),
    Column("reason", Text),
)

# Without foreign keys: calls may name an experiment that only the YAML knows.
totals = Table(
    "totals",
    metadata,
    Column("experiment_id", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("stage", Integer, primary_key=True),
    Column("arm", Text, primary_key=True),  # the assigned one
    Column("name", Text, primary_key=True),  # see `core.totals`
    Column("value", Numeric, nullable=False),  # whole; squares outgrow 64 bits
    # Rows are updated all the time; room in the page keeps their versions out of the index.
    postgresql_with={"fillfactor": 70},
)

# What each unit's calls add up to, of units that may come again.
unit_totals = Table(
    "unit_totals",
    metadata,
    Column("experiment_id", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("stage", Integer, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("arm", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
    Column("bad", BigInteger, nullable=False),
    Column("slow", BigInteger, nullable=False),
    Column("ll", BigInteger, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("w", BigInteger, nullable=False),
    Column("wy", BigInteger, nullable=False),
    postgresql_with={"fillfactor": 70},
)

# The same of named feedback: weight, and weight times value.
unit_values = Table(
    "unit_values",
    metadata,
    Column("experiment_id", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("stage", Integer, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("arm", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("w", Numeric, nullable=False),
    Column("wv", Numeric, nullable=False),
)

# The numbers of each evaluation, kept so that a decision can be made again.
looks = Table(
    "looks",
    metadata,
    Column("experiment_id", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("look", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("numbers", JSONB, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("experiment_id", Text, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("look", Integer, nullable=False),  # 0: made by hand
    Column("at", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("action", JSONB, nullable=False),
    Column("reasons", ARRAY(Text), nullable=False),
    Column("numbers", JSONB, nullable=False),
    Column("plan_hash", Text, nullable=False),
    Column("share_bp", JSONB, nullable=False),
    # These two are filled in later, once; nothing else of a decision can be changed.
    Column("generation", BigInteger),
    Column("undone_by", BigInteger),
    Column("actor", Text, nullable=False),
    Index(None, "experiment_id", "id"),
)
