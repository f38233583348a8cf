"""The engine and one session per request."""

from collections.abc import Iterator

from sqlalchemy import create_engine, make_url
from sqlalchemy.orm import DeclarativeBase, Session

from .config import DATABASE_URL

# SQLAlchemy 2.1 takes a plain postgresql:// for psycopg 3, 2.0 for psycopg2: the driver is named.
engine = create_engine(
    make_url(DATABASE_URL).set(drivername="postgresql+psycopg2"), pool_size=5, pool_pre_ping=True
)


class Base(DeclarativeBase):
    """What all tables derive from."""


def session() -> Iterator[Session]:
    """Give a request its session and close it afterwards."""
    with Session(engine) as one:
        yield one
