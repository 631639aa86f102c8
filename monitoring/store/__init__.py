"""What the monitor keeps: windows, measures, findings, incidents.

    store = Store("sqlite:///.flywheel/monitoring.sqlite")     # or postgresql+pg8000://…
    with store.session() as session:                           # one transaction
        session.scalars(select(Window))

Tables are SQLAlchemy models on `base.Base`, each group in a file of its own here, and change
by the numbered steps in `migrations/versions`; opening a store brings it up to date.
"""

from monitoring.store.base import Base, UtcDateTime
from monitoring.store.store import Store

__all__ = ["Base", "Store", "UtcDateTime"]
