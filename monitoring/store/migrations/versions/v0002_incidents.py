"""Incidents."""

import sqlalchemy as sa
from alembic import op

from monitoring.store.base import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("key", sa.String(400), nullable=False, index=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("severity", sa.String(8), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("features", sa.JSON, nullable=False),
        sa.Column("findings", sa.JSON, nullable=False),
        sa.Column("windows", sa.Integer, nullable=False),
        sa.Column("clean", sa.Integer, nullable=False),
        sa.Column("first_window", sa.String(160), nullable=False),
        sa.Column("last_window", sa.String(160), nullable=False),
        sa.Column("opened_at", UtcDateTime, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
        sa.Column("told_at", UtcDateTime),
        sa.Column("resolved_at", UtcDateTime),
        sa.Column("silenced_until", UtcDateTime),
        sa.Column("escalated", sa.Boolean, nullable=False),
        sa.Column("pending", sa.String(16), nullable=False),
        sa.Column("retrain_at", UtcDateTime),
        sa.Column("comments", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("incidents")
