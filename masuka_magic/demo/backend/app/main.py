"""The application: `uvicorn app.main:app`, started in the folder that holds `app/`."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from . import models
from .config import APP_NAME, APP_VERSION, WARM_UP_S
from .db import Base, engine
from .projects import router

log = logging.getLogger("uvicorn.error")

# At import, as MASUKA V2 does: without a database there is no application.
Base.metadata.create_all(engine)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Warm up before the port opens, close the pool after it has closed."""
    log.info("%s %s is warming up, tables: %s", APP_NAME, APP_VERSION, models.Project.__tablename__)
    await asyncio.sleep(WARM_UP_S)
    yield
    engine.dispose()


app = FastAPI(title=APP_NAME, version=APP_VERSION, lifespan=lifespan)
app.include_router(router)


@app.get("/health")
def health() -> dict[str, str]:
    """Say that the application is up, and which one it is."""
    return {"status": "ok", "app": APP_NAME, "version": APP_VERSION}
