"""The main states of a start, each made of its events, for pictures and for tests of the HTML."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from masuka_magic import events
from masuka_magic.diagnosis.findings import EvidenceLine, Finding, Remedy
from masuka_magic.events import Answer, Event, Importing, Layer
from masuka_magic.panel.model import PanelModel, model
from masuka_magic.state import State, advance

NEW = State("backend", "app.main:app", "127.0.0.1", 8000, url="http://127.0.0.1:8000")
PACKAGES = (("torch", 2.0), ("app", 1.6), ("transformers", 1.1), ("diffusers", 1.0), ("yaml", 0.01))
LAYERS = (
    Layer("name", "ok", "localhost is 127.0.0.1", 0.001),
    Layer("tcp", "ok", "127.0.0.1:5432 accepts connections", 0.001),
    Layer("tls", "ok", "not used", 0.0),
    Layer("login", "bad", 'no password was taken for role "masuka"', 0.011),
    Layer("database", "skip", "the login failed"),
    Layer("privileges", "skip", "the login failed"),
)
STAGES = ("database", "port", "application", "machine", "import", "server", "ready")
CHECKED: tuple[Event, ...] = (
    events.Begun(0.0, STAGES, usual_s=7.6),
    events.CheckFinished(0.012, "database", "ok", "PostgreSQL 18.4, masuka@127.0.0.1:5432", 0.012),
    events.CheckFinished(0.013, "port", "ok", "8000 is free", 0.001),
    events.CheckFinished(0.021, "application", "ok", "app/main.py defines app, uvicorn 0.54", 0.008),
    events.CheckFinished(0.022, "machine", "warn", "1.9 GB of 40 GB is free in /tmp", 0.002),
)
LOG = (
    "W1123 10:02:11 torchvision is not available; image transforms are slower",
    "INFO  loading configuration from backend/.env, 14 values, 3 of them secret and shown as \u2022\u2022\u2022",
    "INFO  loading pipeline components",
    "Fetching 13 files:  46%|\u2588\u2588\u2588\u2588\u258c     | 6/13 [00:02<00:03,  2.31it/s]",
)
IMPORTING: tuple[Event, ...] = (
    events.Spawned(0.03, 4121),
    events.ImportStarted(0.2, "app.main"),
    events.ImportProgressed(4.7, Importing("diffusers", 2_000, PACKAGES)),
    events.Sampled(4.7, 412_000_000, 0.98),
    events.LogGrew(4.8, 600, LOG),
)
SERVING: tuple[Event, ...] = (events.ImportFinished(7.3, 7.0, Importing("", 3_847, PACKAGES)),)
LISTENING: tuple[Event, ...] = (
    events.Probed(7.4, Answer(0.003, None, error="reset", listening=True), "GET /health: reset"),
)
RIGHT = Answer(0.003, 200, name="MASUKA V2", version="2.0.0", listening=True)
READY: tuple[Event, ...] = (events.BecameReady(7.6, RIGHT),)

MISSING = Finding(
    "missing-module",
    "the module cv2 is not installed",
    "cv2",
    (
        EvidenceLine("app/services/resize.py", 2, "import cv2"),
        EvidenceLine("stderr", 39, "ModuleNotFoundError: No module named 'cv2'"),
    ),
    (
        "cv2 comes with the distribution opencv-python-headless",
        "the backend runs with /usr/bin/python3",
    ),
    (Remedy("install it", "/usr/bin/python3 -m pip install opencv-python-headless"),),
)
LOGIN = Finding(
    "pg-auth",
    'PostgreSQL at 127.0.0.1:5432 refused the password of "masuka", or has no such role',
    "masuka",
    (
        EvidenceLine(
            "database",
            None,
            'FATAL:  password authentication failed for user "masuka" (no pg_hba.conf entry)',
        ),
    ),
    ("the URL comes from .env", "with scram the server does not say which of the two it is"),
    (
        Remedy(
            "correct the password in .env", "DATABASE_URL=postgresql://masuka:PASSWORD@127.0.0.1:5432/masuka"
        ),
        Remedy(
            "create the role and its database",
            "sudo -u postgres psql -c \"CREATE ROLE masuka LOGIN PASSWORD 'PASSWORD'\"\n"
            'sudo -u postgres psql -c "CREATE DATABASE masuka OWNER masuka"',
        ),
    ),
)
STUCK = Finding(
    "stalled",
    "nothing has moved for 40 s while app.main was imported",
    "app.main",
    (EvidenceLine("app/models/cache.py", 31, "    lock.acquire()"),),
    ("the processes took less than 5 % of a core", "nothing was written to the log"),
    (Remedy("give it longer with `stall = 120`"), Remedy("stop it", "%masuka_stop", "cell")),
)
BROKEN: tuple[Event, ...] = (
    events.ImportBroke(1.2, 1.0, "ModuleNotFoundError: No module named 'cv2'"),
    events.Exited(1.3, 1, "exited with code 1", (MISSING,)),
)
REFUSED: tuple[Event, ...] = (
    CHECKED[0],
    events.CheckFinished(0.012, "database", "bad", 'login refused for role "masuka"', 0.013, LAYERS),
    *CHECKED[2:],
    events.Refused(0.03, (LOGIN,)),
)
STATES: dict[str, tuple[Event, ...]] = {
    "starting": (*CHECKED, *IMPORTING),
    "ready": (*CHECKED, *IMPORTING, *SERVING, *LISTENING, *READY),
    "failed": (*CHECKED, *IMPORTING[:2], events.LogGrew(0.9, 200, LOG[:2]), *BROKEN),
    "check-failed": REFUSED,
    "stalled": (*CHECKED, *IMPORTING, events.Stalled(48.0, "nothing has moved for 40 s", (STUCK,))),
    "checking": (
        CHECKED[0],
        events.CheckStarted(0.0, "database"),
        events.CheckProgressed(2.0, "database", "PostgreSQL is starting up, waiting 2 s"),
        *CHECKED[2:],
    ),
    "first": (events.Begun(0.0, STAGES), *CHECKED[1:], *IMPORTING),
    "exited": (
        *(*CHECKED, *IMPORTING, *SERVING, *LISTENING, *READY),
        events.Exited(700.0, -9, "killed by SIGKILL (kill -9), as the kernel does when memory is short"),
    ),
    "stopped": (
        *(*CHECKED, *IMPORTING, *SERVING, *LISTENING, *READY),
        events.Stopping(60.0, "stopping"),
        events.Stopped(60.4, "stopped in 0.4 s", -15),
    ),
}


def state_of(happened: Sequence[Event]) -> State:
    """Fold the events of a start."""
    return reduce(advance, happened, NEW)


def panels() -> dict[str, PanelModel]:
    """Return the model of each state, by its name."""
    states = {name: state_of(happened) for name, happened in STATES.items()}
    return {name: model(state, state.at, str) for name, state in states.items()}
