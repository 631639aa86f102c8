"""Windows, what was read for them, their summaries, measures and findings."""

import sqlalchemy as sa
from alembic import op

from monitoring.store.base import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _window_id(primary_key: bool = False, index: bool = False) -> sa.Column:
    return sa.Column(
        "window_id",
        sa.String(160),
        sa.ForeignKey("windows.id", ondelete="CASCADE"),
        primary_key=primary_key,
        nullable=False,
        index=index,
    )


def upgrade() -> None:
    op.create_table(
        "windows",
        sa.Column("id", sa.String(160), primary_key=True),
        sa.Column("scope", sa.String(80), nullable=False, index=True),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("start", UtcDateTime, nullable=False, index=True),
        sa.Column("end", UtcDateTime, nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False),
        sa.Column("late_rows", sa.BigInteger, nullable=False),
        sa.Column("versions", sa.JSON, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("measured", sa.Integer, nullable=False),
        sa.Column("measured_at", UtcDateTime),
        sa.Column("facts", sa.JSON, nullable=False),
    )
    op.create_table(
        "read_files",
        sa.Column("scope", sa.String(80), primary_key=True),
        sa.Column("name", sa.String(300), primary_key=True),
        sa.Column("rows", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "parts",
        _window_id(primary_key=True),
        sa.Column("scope", sa.String(80), primary_key=True),
        sa.Column("name", sa.String(300), primary_key=True),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("stop", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "summaries",
        _window_id(primary_key=True),
        sa.Column("version", sa.String(64), primary_key=True),
        sa.Column("slice", sa.String(300), primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "measures",
        sa.Column("id", _SERIAL, primary_key=True),
        _window_id(index=True),
        sa.Column("feature", sa.String(300), nullable=False),
        sa.Column("statistic", sa.String(64), nullable=False),
        sa.Column("slice", sa.String(300), nullable=False),
        sa.Column("family", sa.String(16), nullable=False),
        sa.Column("against", sa.String(16), nullable=False),
        sa.Column("value", sa.Float(53)),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("reference_n", sa.BigInteger, nullable=False),
        sa.Column("p_value", sa.Float(53)),
        sa.Column("low", sa.Float(53)),
        sa.Column("high", sa.Float(53)),
        sa.Column("words", sa.Text, nullable=False),
        sa.Column("unreliable", sa.Text, nullable=False),
    )
    op.create_table(
        "findings",
        sa.Column("id", _SERIAL, primary_key=True),
        _window_id(index=True),
        sa.Column("content", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    for name in ("findings", "measures", "summaries", "parts", "read_files", "windows"):
        op.drop_table(name)
