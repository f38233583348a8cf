"""The engine and one session per request."""

from collections.abc import Iterator

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Session

from .config import DATABASE_URL

engine = create_engine(DATABASE_URL, pool_size=5, pool_pre_ping=True)


class Base(DeclarativeBase):
    """What all tables derive from."""


def session() -> Iterator[Session]:
    """Give a request its session and close it afterwards."""
    with Session(engine) as one:
        yield one
