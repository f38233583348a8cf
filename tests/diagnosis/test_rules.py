"""Each cause as the user reads it: evidence in, the exact 80 columns out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from masuka_magic.diagnosis.ending_rules import signal_name
from masuka_magic.diagnosis.evidence import Evidence, LogLine
from masuka_magic.diagnosis.exceptions import ExceptionReport, Frame, SyntaxSpot
from masuka_magic.diagnosis.packages import distribution
from masuka_magic.diagnosis.rules import diagnose
from masuka_magic.events import Answer
from masuka_magic.panel.text import finding_lines

GOLDEN = Path(__file__).parent / "golden"
CWD = "/content/masuka-v2/backend"
PYTHON = "/usr/bin/python3"
LIBRARY = "/usr/local/lib/python3.13/dist-packages"

LIFESPAN = f"""\
INFO:     Waiting for application startup.
ERROR:    Traceback (most recent call last):
  File "{LIBRARY}/starlette/routing.py", line 732, in lifespan
    async with self.lifespan_context(app) as maybe_state:
               ~~~~~~~~~~~~~~~~~~~~~^^^^^
  File "{CWD}/app/main.py", line 21, in lifespan
    load_models()
  File "{CWD}/app/models.py", line 9, in load_models
    raise RuntimeError("no weights in /content/models")
RuntimeError: no weights in /content/models

ERROR:    Application startup failed. Exiting."""
LIFESPAN_DATABASE = f"""\
INFO:     Waiting for application startup.
ERROR:    Traceback (most recent call last):
  File "{CWD}/app/main.py", line 21, in lifespan
    engine.connect()
psycopg2.OperationalError: connection to server at "127.0.0.1", port 5432 failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?

ERROR:    Application startup failed. Exiting."""
REQUEST = f"""\
ERROR:    Exception in ASGI application
Traceback (most recent call last):
  File "{CWD}/app/main.py", line 30, in health
    return {{"n": 1 / 0}}
ZeroDivisionError: division by zero"""
BOUND = """\
INFO:     Application startup complete.
ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 8000): address already in use
INFO:     Waiting for application shutdown."""
SETTINGS = """\
3 validation errors for Settings
DATABASE_URL
  Field required [type=missing, input_value={}, input_type=dict]
    For further information visit https://errors.pydantic.dev/2.7/v/missing
SECRET_KEY
  Field required [type=missing, input_value={}, input_type=dict]
PORT
  Input should be a valid integer [type=int_type]"""
REFUSED = 'connection to server at "127.0.0.1", port 5432 failed: Connection refused'


def frame(file: str, line: int, source: str, function: str = "<module>") -> Frame:
    """Make a frame; a relative file is the user's own."""
    return Frame(file if file[0] in "/<" else f"{CWD}/{file}", line, function, source)


MAIN = frame("app/main.py", 3, "from app import settings")


def raised(type_: str, message: str, *frames: Frame, **more: Any) -> ExceptionReport:
    return ExceptionReport(type_, more.pop("module", "builtins"), message, frames, **more)


def absent(name: str, *frames: Frame) -> tuple[ExceptionReport, ...]:
    return (raised("ModuleNotFoundError", f"No module named {name!r}", *frames, name=name),)


def log(text: str, first: int = 1, stream: Any = "stderr") -> tuple[LogLine, ...]:
    return tuple(LogLine(stream, first + at, line) for at, line in enumerate(text.splitlines()))


def ended(**more: Any) -> Evidence:
    return Evidence(
        **{"target": "app.main:app", "cwd": CWD, "python": PYTHON, "port": 8000, "returncode": 1, **more}
    )


def living(**more: Any) -> Evidence:
    return ended(**{"returncode": None, "alive": True, "stage": "ready", **more})


def answered(status: int, body: str = "", **more: Any) -> Answer:
    return Answer(0.003, status, body=body, listening=True, **more)


DATABASE_IMPORT = (
    raised(
        "OperationalError",
        f"(psycopg2.OperationalError) {REFUSED}\n\n(Background on this error at: https://sqlalche.me/e/20/e3q8)",
        frame("app/db.py", 14, "engine.connect()"),
        frame(f"{LIBRARY}/sqlalchemy/engine/base.py", 3268, "return self.pool.connect()", "raw_connection"),
        module="sqlalchemy.exc",
    ),
    raised(
        "OperationalError",
        REFUSED,
        frame(f"{LIBRARY}/psycopg2/__init__.py", 122, "conn = _connect(dsn)", "connect"),
        module="psycopg2",
        link="cause",
    ),
)

CASES = {
    "missing-module": ended(
        import_exception=absent(
            "diffusers",
            MAIN,
            frame("app/models/pipeline.py", 7, "from diffusers import StableDiffusionXLPipeline"),
        ),
        log=log(
            "Traceback (most recent call last):\n...\nModuleNotFoundError: No module named 'diffusers'", 100
        ),
    ),
    "missing-module-other-name": ended(import_exception=absent("cv2", MAIN)),
    "missing-module-impossible-name": ended(import_exception=absent("x; rm -rf ~", MAIN)),
    "missing-module-removed": ended(import_exception=absent("imp", MAIN)),
    "missing-module-of-a-package": ended(
        import_exception=absent("torchvision.transforms.functional_tensor", MAIN)
    ),
    "missing-module-own": ended(import_exception=absent("app.databse", MAIN)),
    "wrong-cwd": ended(
        cwd="/content/masuka-v2", import_missing="app", elsewhere=(("app", "/content/masuka-v2/backend"),)
    ),
    "wrong-cwd-other-module": ended(
        import_exception=absent("shared", MAIN), elsewhere=(("shared", "/content/masuka-v2"),)
    ),
    "asgi-import-path": ended(import_missing="app"),
    "asgi-import-path-log": ended(
        log=log('ERROR:    Error loading ASGI app. Could not import module "app.main".')
    ),
    "asgi-attribute": ended(attribute_found=False, candidates=("api",), module_file=f"{CWD}/app/main.py"),
    "asgi-attribute-nothing": ended(attribute_found=False),
    "asgi-attribute-log": ended(
        log=log('ERROR:    Error loading ASGI app. Attribute "app" not found in module "app.main".', 7)
    ),
    "syntax-error": ended(
        import_exception=(
            raised(
                "SyntaxError",
                "'(' was never closed (routers.py, line 12)",
                MAIN,
                syntax=SyntaxSpot(f"{CWD}/app/routers.py", 12, 19, "    return connect(url\n"),
            ),
        )
    ),
    "syntax-error-magic": ended(
        import_exception=(
            raised(
                "SyntaxError",
                "invalid syntax",
                MAIN,
                syntax=SyntaxSpot(f"{CWD}/app/setup.py", 1, 1, "!pip install x\n"),
            ),
        )
    ),
    "missing-env": ended(
        import_exception=(
            raised(
                "KeyError",
                "'HF_TOKEN'",
                MAIN,
                frame("app/config.py", 4, 'HF_TOKEN = os.environ["HF_TOKEN"]'),
                frame("<frozen os>", 716, "", "__getitem__"),
            ),
        )
    ),
    "missing-env-pydantic": ended(
        import_exception=(raised("ValidationError", SETTINGS, MAIN, module="pydantic_core._pydantic_core"),)
    ),
    "pg-refused-import": ended(
        import_exception=DATABASE_IMPORT, log=log(f"psycopg2.OperationalError: {REFUSED}", 118)
    ),
    "pg-refused-lifespan": ended(stage="server", returncode=3, log=log(LIFESPAN_DATABASE)),
    "port-in-use": ended(stage="server", listener="python3 (pid 812)", log=log(BOUND)),
    "port-in-use-another": ended(stage="server", port=8080, log=log(BOUND)),
    "lifespan": ended(stage="server", returncode=3, log=log(LIFESPAN)),
    "lifespan-silent": ended(
        stage="server", returncode=3, log=log("ERROR:    Application startup failed. Exiting.")
    ),
    "exit-zero": ended(returncode=0, stage="server", log=log("done", stream="stdout")),
    "exit-zero-import": ended(returncode=0),
    "exit-zero-script": ended(returncode=0, stage="server", kind="script", target="serve.py"),
    "exit-zero-sys-exit": ended(
        returncode=0, import_exception=(raised("SystemExit", "0", frame("app/main.py", 5, "sys.exit(0)")),)
    ),
    "sys-exit": ended(import_exception=(raised("SystemExit", "1", frame("app/main.py", 5, "sys.exit(1)")),)),
    "killed": ended(
        returncode=-9,
        importing="torch",
        peak_rss=12_300_000_000,
        log=log("Loading checkpoint shards:  33%|███▎"),
    ),
    "oom-kill": ended(
        returncode=-9,
        importing="torch",
        peak_rss=12_300_000_000,
        oom="the container's memory.events counts one oom_kill more than before",
    ),
    "segfault": ended(
        returncode=-11,
        importing="torch",
        log=log("Fatal Python error: Segmentation fault\n\nCurrent thread 0x1:"),
    ),
    "terminated": ended(returncode=-15, stage="ready"),
    "stalled-import": living(stage="import", importing="torch", waiting_s=40),
    "stalled-startup": living(
        stage="server", waiting_s=40, log=log("INFO:     Waiting for application startup.", 2)
    ),
    "stalled-listening": living(
        waiting_s=40, answer=Answer(5.0, None, error="no answer within 5 s", listening=True)
    ),
    "stalled-database": living(
        stage="server", waiting_s=40, log=log(f"retry in 5 s: {REFUSED}\nretry in 5 s: {REFUSED}", 8)
    ),
    "health-404": living(answer=answered(404, '{"detail":"Not Found"}')),
    "health-401": living(answer=answered(401, '{"detail":"Not authenticated"}')),
    "health-405": living(answer=answered(405)),
    "health-418": living(answer=answered(418)),
    "health-redirect": living(answer=answered(307, location="http://127.0.0.1:8000/health/")),
    "health-redirect-away": living(answer=answered(302, location="https://login.example.org/?next=/health")),
    "health-500": living(answer=answered(500, "Internal Server Error"), log=log(REQUEST)),
    "health-500-silent": living(answer=answered(500, "Internal Server Error")),
    "health-json": living(
        expects={"status": "ok"},
        answer=answered(200, '{"status":"starting"}'),
        answer_text='GET /health answered 200, but status is "starting", expected "ok"',
    ),
    "wrong-app": living(
        listener="python3 (pid 812)",
        answer=answered(200, '{"app":"OLD APP"}', name="OLD APP", version="1.0"),
    ),
    "unknown-import": ended(
        import_exception=(
            raised(
                "ValueError",
                "bad value 7 in table weights\nsecond line",
                MAIN,
                frame("app/m.py", 9, "check(w)"),
            ),
        )
    ),
    "unknown-cause": ended(
        import_exception=(
            raised(
                "RuntimeError",
                "the configuration is broken",
                frame("app/c.py", 9, "raise RuntimeError from e"),
            ),
            raised("KeyError", "'x'", frame("app/c.py", 7, 'table["x"]'), link="cause"),
        )
    ),
    "unknown-exit": ended(
        returncode=3, stage="server", log=log("INFO: hello\nError: cannot open the display\nbye")
    ),
    "unknown-silent": ended(returncode=3, stage="server", kind="command", target="./serve"),
    "unknown-crash": ended(
        stage="server",
        crash_exception=(
            raised("TypeError", "f() got an unexpected keyword", frame(f"{LIBRARY}/s.py", 5, "f(x=1)")),
        ),
    ),
    "unknown-reloader": living(
        stage="import",
        import_exception=(
            raised("NameError", "name 'foo' is not defined", frame("app/main.py", 9, "foo()")),
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_cause_reads_as_it_should(name: str) -> None:
    """Title, code, the user's line, the log's line, facts and fixes stand as in the golden file."""
    (finding,) = diagnose(CASES[name])
    expected = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert expected == "\n".join(finding_lines(finding)) + "\n"


def test_no_golden_file_is_left_over() -> None:
    """Each golden file belongs to a case."""
    assert set(CASES) == {path.stem for path in GOLDEN.glob("*.txt")}


def code(evidence: Evidence) -> str:
    return diagnose(evidence)[0].code


@pytest.mark.parametrize(
    ("expected", "chain"),
    [
        # A fallback that is missing as well: the last attempt speaks.
        ("ujson", (*absent("ujson", MAIN), replace(absent("orjson", MAIN)[0], link="context"))),
        # `raise RuntimeError(...) from error`: the cause speaks.
        ("diffusers", (raised("RuntimeError", "install it", MAIN), replace(absent("diffusers")[0], link="cause"))),
        # Raised while the true one was handled, and itself unspecific.
        ("HF_TOKEN", (raised("RuntimeError", "set it", MAIN), replace(
            raised("KeyError", "'HF_TOKEN'", frame("a.py", 1, 'os.environ["HF_TOKEN"]')), link="context"))),
    ],
)  # fmt: skip
def test_the_root_of_a_chain_decides(expected: str, chain: tuple[ExceptionReport, ...]) -> None:
    """The innermost cause that a rule knows names the culprit."""
    assert expected == diagnose(ended(import_exception=chain))[0].culprit


def test_the_wrapper_of_a_root_cause_is_a_note() -> None:
    """What the application made of the root cause is said, and is no second finding."""
    chain = (raised("RuntimeError", "install it", MAIN), replace(absent("diffusers")[0], link="cause"))
    (finding,) = diagnose(ended(import_exception=chain))
    assert "the application turned it into RuntimeError: install it" in finding.notes


def test_a_member_of_a_group_is_the_cause() -> None:
    """A task group only gathers what its tasks raised."""
    group = raised("ExceptionGroup", "unhandled errors in a TaskGroup (1 sub-exception)", MAIN)
    group = replace(group, exceptions=(absent("diffusers", MAIN),))
    assert "missing-module" == code(ended(import_exception=(group,)))


def test_a_handled_traceback_is_not_blamed_for_a_signal() -> None:
    """A process that a signal ended was not ended by a traceback in its log."""
    handled = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: handled'
    assert "SIGKILL" == diagnose(ended(returncode=-9, log=log(handled)))[0].culprit


def test_a_living_process_is_not_blamed_for_a_traceback() -> None:
    """While nothing has ended, a traceback in the log may have been handled."""
    handled = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: handled'
    assert "stalled" == code(living(stage="server", log=log(handled), waiting_s=40))


def test_a_key_error_of_a_dictionary_is_no_missing_variable() -> None:
    """Only what asked the environment is about the environment."""
    chain = (raised("KeyError", "'x'", frame("a.py", 1, 'table["x"]')),)
    assert "unknown" == code(ended(import_exception=chain))


def test_a_validation_error_of_a_model_is_no_missing_variable() -> None:
    """A required field of an ordinary model says nothing about the environment."""
    message = "1 validation error for Item\nname\n  Field required [type=missing]"
    chain = (raised("ValidationError", message, MAIN, module="pydantic_core"),)
    assert "unknown" == code(ended(import_exception=chain))


def test_an_import_error_does_not_hide_behind_a_busy_port() -> None:
    """A port that was busy in the log is not the cause of an import that raised."""
    chain = (raised("ValueError", "x", MAIN),)
    assert "unknown" == code(ended(import_exception=chain, log=log(BOUND)))


def test_an_installation_names_the_backends_interpreter() -> None:
    """The fix can be run without a shell and installs for the Python that runs the backend."""
    finding = diagnose(replace(CASES["missing-module-other-name"], python="/my env/bin/python"))[0]
    (remedy,) = finding.remedies
    assert ("/my env/bin/python", "-m", "pip", "install", "opencv-python-headless") == remedy.argv
    assert "'/my env/bin/python' -m pip install opencv-python-headless" == remedy.command


def test_findings_of_nothing() -> None:
    """Evidence that says nothing gives an honest `unknown`, never none and never an error."""
    (finding,) = diagnose(Evidence(target="app"))
    assert ("unknown", "the backend ended while app was imported") == (finding.code, finding.title)


@pytest.mark.parametrize(
    ("expected", "returncode"),
    [
        ("SIGKILL", -9),
        ("SIGKILL", 137),
        ("SIGSEGV", -11),
        ("signal 34", -34),
        (None, 0),
        (None, 1),
        (None, 255),
    ],
)
def test_signals_are_named(expected: str | None, returncode: int) -> None:
    """A return code of a signal, of Popen or of a shell, has its name; others have none."""
    assert expected == signal_name(returncode)


@pytest.mark.parametrize(
    ("expected", "module"),
    [
        ("PyYAML", "yaml"),
        ("Pillow", "PIL.Image"),
        ("google-cloud-storage", "google.cloud.storage"),
        ("diffusers", "diffusers"),
        (None, "google.unheard"),
        (None, "a; b"),
        (None, "--index-url=http"),
    ],
)
def test_distributions_of_modules(expected: str | None, module: str) -> None:
    """The table first, else the same name; nothing for a name that cannot be a module's."""
    assert expected == distribution(module)
