"""Opening a store: SQLite by default, PostgreSQL for teams, always at the newest revision."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import pathlib
import pkgutil
import zlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

import monitoring.store
from models.errors import ConfigError, FlywheelError
from monitoring.store.base import Base

_BUSY_SECONDS = 30


class Store:
    """The database of the monitor.

    Args:
      url: SQLAlchemy URL (`sqlite:///…`, `postgresql+pg8000://…`), or the path of a SQLite file.

    Raises:
      ConfigError: STORE_UNREACHABLE.
    """

    def __init__(self, url: str | os.PathLike[str]):
        text = str(url)
        self.url = sa.make_url(text if "://" in text else f"sqlite:///{pathlib.Path(text)}")
        if self.url.drivername in ("postgresql", "postgres"):
            self.url = self.url.set(drivername="postgresql+pg8000")
        if self.is_sqlite:
            pathlib.Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
            self.engine = sa.create_engine(
                self.url, connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False}
            )
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        else:
            self.engine = sa.create_engine(self.url, pool_pre_ping=True)
        self._sessions = orm.sessionmaker(self.engine, expire_on_commit=False)
        try:
            self._migrate()
        except sa.exc.OperationalError as error:
            raise self._unreachable(error) from error
        except sa.exc.InterfaceError as error:
            raise self._unreachable(error) from error

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextlib.contextmanager
    def session(self) -> Iterator[orm.Session]:
        """One transaction: committed at the end, undone by an exception or a kill."""
        with self._sessions.begin() as session:
            yield session

    @contextlib.contextmanager
    def locked(self, what: str = "monitor") -> Iterator[None]:
        """Holds a lock that ends with this process, however it ends.

        Raises:
          FlywheelError: MONITOR_RUNNING when another process holds it.
        """
        with contextlib.ExitStack() as stack:
            if self.is_sqlite:
                lock = stack.enter_context(open(f"{self.url.database}.{what}.lock", "a"))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise self._busy(what) from None
            else:
                connection = stack.enter_context(self.engine.connect())
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                key = zlib.crc32(f"flywheel {what}".encode())
                taken = connection.execute(sa.select(sa.func.pg_try_advisory_lock(key))).scalar()
                if not taken:
                    raise self._busy(what)
                stack.callback(
                    lambda: connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))
                )
            yield

    def close(self) -> None:
        """Gives the connections back."""
        self.engine.dispose()

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.runtime.migration import MigrationContext
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", "monitoring.store:migrations")
        newest = ScriptDirectory.from_config(config).get_current_head()
        with self.engine.begin() as connection:
            if MigrationContext.configure(connection).get_current_revision() == newest:
                return
            if not self.is_sqlite:  # two processes may open a new store at once
                key = zlib.crc32(b"flywheel migration")
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _unreachable(self, error: Exception) -> ConfigError:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        return ConfigError(
            "STORE_UNREACHABLE",
            f"The monitor's store `{self.url.render_as_string()}` cannot be opened: {reason}.",
            next="Check `monitoring.store` in flywheel.yaml, and that the database is up.",
        )

    def _busy(self, what: str) -> FlywheelError:
        return FlywheelError(
            "MONITOR_RUNNING",
            f"Another {what} is at work on `{self.url.render_as_string()}`; this one did nothing.",
            next="Wait for it to end and look again with `flywheel monitor`.",
        )


def metadata() -> sa.MetaData:
    """Of all tables, whichever file of this package they are in."""
    for module in pkgutil.iter_modules(monitoring.store.__path__):
        if not module.ispkg:
            importlib.import_module(f"monitoring.store.{module.name}")
    return Base.metadata


def _prepare_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, see below
    for setting in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {setting}")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Readers that later write would fail at once when another writes: take the lock first."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
