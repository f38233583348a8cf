"""Run a server and watch it import the application: the child's half of a start, for Python 3.8 and later.

    python bootstrap.py [--app MODULE:ATTRIBUTE] [--factory] -m MODULE [ARGUMENT ...]
    python bootstrap.py SCRIPT [ARGUMENT ...]

bootstrap.py is started by path in the backend's own environment and runs this file in its place, so this is one
file and imports nothing of its package.
It knows nothing of the kernel but a folder, named by MASUKA_RUN, into which it writes reports; whoever reads
them may be gone, the disk full, the folder deleted: then nothing is written and the server runs all the same.
The server must run as it does by hand. Therefore nothing that is written in Python is imported here before
the server runs (a file of the user's that shadows the standard library shall do so as ever), no file stays
open but the one for the stacks, nothing is locked (a fork would keep the lock), and no loader is replaced.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` is written in Python.
import _thread
import faulthandler
import fcntl
import io
import os
import sys
import time
from _frozen_importlib_external import ExtensionFileLoader, SourceFileLoader, SourcelessFileLoader
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType, TracebackType
    from typing import Any, Callable, Dict, Union

    Loader = Union[SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader]
    Json = Dict[str, Any]

VERSION = 1
SLOT_BYTES = 1024
# Wakes and the list of packages: at most 20 times a second.
PAUSE_S = 0.05
# The slot, while the package is the same: a write costs as much as a small module.
REFRESH_S = 0.005
# Above the numbers that a server counts on finding free (3 and up).
LOWEST_DESCRIPTOR = 100
# The name under which a spawned child of a script or module runs this file first.
SPAWNED = "__masuka_spawned__"
IMPORT_SYSTEM = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
# One instance per module, with a __dict__. Any other loader may be shared: its time is its importer's.
TIMED = (SourceFileLoader, SourcelessFileLoader, ExtensionFileLoader)

MAX_MESSAGE = 10_000
MAX_TEXT = 1_000
MAX_NOTES = 10
MAX_CHAIN = 15
MAX_EXCEPTIONS = 30
FIRST_FRAMES, LAST_FRAMES = 15, 45
MAX_GROUP, MAX_GROUP_DEPTH = 5, 3

# Classes of applications: (first part of the module, name). Looked for among a type's bases.
APPLICATIONS = {
    ("aiohttp", "Application"),
    ("blacksheep", "Application"),
    ("bottle", "Bottle"),
    ("connexion", "App"),
    ("connexion", "AsyncApp"),
    ("connexion", "FlaskApp"),
    ("django", "ASGIHandler"),
    ("django", "WSGIHandler"),
    ("falcon", "API"),
    ("falcon", "App"),
    ("fastapi", "FastAPI"),
    ("flask", "Flask"),
    ("litestar", "Litestar"),
    ("quart", "Quart"),
    ("sanic", "Sanic"),
    ("socketio", "ASGIApp"),
    ("starlette", "Starlette"),
}
FACTORIES = {"create_app", "make_app", "get_app", "app_factory"}
MAX_CANDIDATES = 10

ESCAPES = {code: f"\\u{code:04x}" for code in range(32)}
ESCAPES.update({ord('"'): '\\"', ord("\\"): "\\\\"})


def to_json(value: object) -> str:
    """Write None, bool, int, finite float, str, list, tuple and dict; `json` is written in Python."""
    if isinstance(value, str):
        return '"' + str.translate(value, ESCAPES) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(to_json, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(to_json(key) + ":" + to_json(item) for key, item in value.items()) + "}"
    return int.__repr__(value) if isinstance(value, int) else repr(value)


def to_bytes(record: Json) -> bytes:
    """Encode as UTF-8; a lone surrogate becomes its JSON escape."""
    return to_json(record).encode("utf-8", "backslashreplace")


class RunFolder:
    """What the child writes for the kernel. Every failure of the system is a report that is not written."""

    def __init__(self, path: str) -> None:
        self.path = path

    def report(self, kind: str, **fields: object) -> None:
        """Append one line. One write: lines of several processes do not mix."""
        pid, ppid = os.getpid(), os.getppid()
        record = {"v": VERSION, "kind": kind, "at": time.monotonic(), "pid": pid, "ppid": ppid}
        record.update(fields)
        line = to_bytes(record) + b"\n"
        try:
            descriptor = self._open("reports.jsonl", os.O_APPEND)
            try:
                if os.write(descriptor, line) < len(line):
                    os.write(descriptor, b"\n")  # The disk filled up in mid-line: spare the next one.
            finally:
                os.close(descriptor)
        except OSError:
            return
        self.wake()

    def show(self, text: bytes) -> None:
        """Put a JSON object into this process's slot, in place of the one before."""
        room = SLOT_BYTES - 10
        if len(text) > room:
            return  # Names of hundreds of characters that are not ASCII: the one before stays.
        text = text.ljust(room)
        try:
            descriptor = self._open(f"import-{os.getpid()}.now", 0)
            try:
                os.pwrite(descriptor, b"%08x %s\n" % (crc32(text), text), 0)
            finally:
                os.close(descriptor)
        except OSError:
            return

    def wake(self) -> None:
        """Put a byte into the kernel's FIFO: opened for both directions, it can neither block nor signal."""
        try:
            descriptor = os.open(self.path + "/wake", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(descriptor, b".")
            finally:
                os.close(descriptor)
        except OSError:
            return  # No FIFO, or it is full: the kernel looks by itself too.

    def remember_application(self, application: str) -> None:
        """Leave the application's name for spawned children, which know nothing but the folder."""
        try:
            descriptor = self._open("application", os.O_TRUNC)
            try:
                os.write(descriptor, application.encode("utf-8", "surrogateescape"))
            finally:
                os.close(descriptor)
        except OSError:
            return

    def application(self) -> str:
        """Return what the main process has left, or ""."""
        try:
            descriptor = os.open(self.path + "/application", os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.read(descriptor, 4096).decode("utf-8", "surrogateescape")
            finally:
                os.close(descriptor)
        except OSError:
            return ""

    def catch_stacks(self) -> None:
        """Write the stacks of all threads to a file when SIGUSR1 comes."""
        try:
            descriptor = self._open("stacks.log", os.O_APPEND)
            try:
                high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, LOWEST_DESCRIPTOR)
            finally:
                os.close(descriptor)
            faulthandler.register(_signal.SIGUSR1, file=high, all_threads=True)
        except OSError:
            return

    def _open(self, name: str, flags: int) -> int:
        # Opened for every write: a server that closes every descriptor it does not know would otherwise have
        # reports written into what gets the number next.
        return os.open(self.path + "/" + name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)


def unseen(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let the function's frames count as the import system's own.

    The interpreter leaves them out of tracebacks, and `warnings` out of its stack levels, by the file's name.
    """
    function.__code__ = function.__code__.replace(co_filename=IMPORT_SYSTEM[0])
    return function


class Timed:
    """One method of one loader for one call: an attribute of the instance that removes itself when called."""

    __slots__ = ("hook", "loader", "method", "name")

    def __init__(self, hook: Hook, loader: Loader, method: str, name: str) -> None:
        self.hook, self.loader, self.method, self.name = hook, loader, method, name

    @unseen
    def __call__(self, argument: object) -> object:
        """Run the loader's own method on a module or a specification, and time it."""
        self.loader.__dict__.pop(self.method, None)
        entry = self.hook.enter(self.name)
        try:
            result = getattr(self.loader, self.method)(argument)
        except BaseException as error:
            # Where Python lets it (3.11 and later), this frame leaves the traceback here; runs of frames that
            # a traceback shows by hand (import_module) would be one line longer otherwise.
            if error.__traceback__ is not None:
                error.__traceback__ = error.__traceback__.tb_next
            self.hook.leave(entry, self.method, error)
            raise
        self.hook.leave(entry, self.method, None)
        return result


class Entry:
    """A module that is being imported: since when, and how much of that time was that of its own imports."""

    __slots__ = ("children_s", "name", "outermost", "started", "top")

    def __init__(self, name: str, started: float) -> None:
        self.name, self.started = name, started
        self.top = name.partition(".")[0]
        self.children_s = 0.0
        self.outermost = False


class Hook:
    """A finder, the first of all, that finds nothing itself and times the loaders of what the others find.

    `application` is MODULE:ATTRIBUTE, or "" where the target is a script or a module. An import of it starts
    when the first of its modules (app, app.main) starts, and ends when no such module runs any more and the
    last of them has run.
    """

    def __init__(self, folder: RunFolder, application: str) -> None:
        self.folder = folder
        self.module, _, attribute = application.partition(":")
        self.attribute = attribute.partition("(")[0].partition(".")[0].strip()
        parts = self.module.split(".")
        self.modules = {".".join(parts[: count + 1]) for count in range(len(parts))} if self.module else set()
        self.started: float | None = None
        self.done = False
        self.pid = os.getpid()
        self.local = _thread._local()  # noqa: SLF001 - `threading` is written in Python.
        self.busy: dict[int, list[Entry]] = {}
        self.own_s: dict[str, float] = {}
        self.count = 0
        self.shown: str | None = None
        self.shown_at = 0.0
        self.packages = "[]"
        self.due = 0.0

    def install(self) -> None:
        """Take the first place among the finders."""
        sys.meta_path.insert(0, self)
        if not self.module and "multiprocessing.spawn" in sys.modules:
            watch_spawned(sys.modules["multiprocessing.spawn"])

    @unseen
    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """Return what the next finder that knows the module returns, unchanged, with its loader timed."""
        if self not in sys.meta_path:
            return None  # Removed by another thread in this moment.
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            find_spec = getattr(finder, "find_spec", None)
            if find_spec is None:
                return None  # An old finder: the import system knows how to ask it.
            spec = find_spec(name, path, target)
            if spec is not None:
                self.time(getattr(spec, "loader", None), name)
                return spec
        # importlib.util.find_spec asks too, and misses nothing when there is nothing.
        if name in self.modules and sys._getframe(2).f_code.co_name == "_find_and_load_unlocked":  # noqa: SLF001
            self.folder.report("import-missing", module=name)
        return None

    def time(self, loader: Any, name: str) -> None:  # noqa: ANN401 - whatever a finder returns
        """Time the loader's next run; a shared library takes its time when its module is created."""
        if type(loader) in TIMED:
            loader.__dict__["exec_module"] = Timed(self, loader, "exec_module", name)
        if type(loader) is ExtensionFileLoader:
            loader.__dict__["create_module"] = Timed(self, loader, "create_module", name)

    def enter(self, name: str) -> Entry:
        """Note that a module begins to run."""
        now = time.monotonic()
        if self.pid != os.getpid():
            self._begin_in_fork()
        stack: list[Entry] = self.local.__dict__.setdefault("stack", [])
        entry = Entry(name, now)
        if name in self.modules:
            entry.outermost = not any(above.outermost for above in stack)
            if entry.outermost and self.started is None:
                self.started = now
                self.own_s, self.count, self.due = {}, 0, 0.0
                self.folder.report("import-started", module=self.module)
        if not stack:
            self.busy[_thread.get_ident()] = stack
        stack.append(entry)
        self._show(now, stack)
        return entry

    def leave(self, entry: Entry, method: str, error: BaseException | None) -> None:
        """Note that a module has run, or what ended it."""
        now = time.monotonic()
        stack: list[Entry] = self.local.stack
        while stack and stack.pop() is not entry:
            pass  # Left behind by an interrupt that came between two lines of this class.
        seconds = now - entry.started
        self.own_s[entry.top] = self.own_s.get(entry.top, 0.0) + seconds - entry.children_s
        if stack:
            stack[-1].children_s += seconds
        else:
            self.busy.pop(_thread.get_ident(), None)
        if error is None and method == "exec_module":
            self.count += 1
            if entry.name == "multiprocessing.spawn" and not self.module:
                watch_spawned(sys.modules[entry.name])
        if entry.name in self.modules and method == "exec_module":
            self._leave_application(entry, error, now)
        self._show(now, stack)

    def largest(self, count: int, stack: list[Entry], now: float) -> list[tuple[str, float]]:
        """Return the top-level packages with the most seconds of their own, those that still run included."""
        own_s = dict(self.own_s)
        until = now
        for entry in reversed(stack):
            own_s[entry.top] = own_s.get(entry.top, 0.0) + until - entry.started - entry.children_s
            until = entry.started
        ranked = sorted(own_s.items(), key=lambda item: -item[1])[:count]
        return [(name[:64], round(seconds, 4)) for name, seconds in ranked]

    def _begin_in_fork(self) -> None:
        # Of the parent's threads only this one lives on; the counts start anew with this process's slot.
        self.pid = os.getpid()
        stack = self.local.__dict__.get("stack")
        self.busy = {_thread.get_ident(): stack} if stack else {}
        self.own_s, self.count, self.shown, self.due = {}, 0, None, 0.0

    def _leave_application(self, entry: Entry, error: BaseException | None, now: float) -> None:
        self.done = error is None and (self.done or entry.name == self.module)
        if not entry.outermost:
            return
        started = entry.started if self.started is None else self.started
        if error is not None:
            self.started = None
            if not isinstance(error, KeyboardInterrupt):
                report = describe(error)
                self.folder.report(
                    "import-failed", module=entry.name, seconds=now - started, exception=report
                )
        elif self.done:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self.folder.report(
                "import-finished",
                module=self.module,
                seconds=now - started,
                modules=self.count,
                packages=self.largest(12, [], now),
                **application_in(getattr(sys.modules.get(self.module), "__dict__", {}), self.attribute),
            )
        else:
            # The import system asks no finder for what lies in a module that is not a package.
            missing = entry.name + "." + self.module[len(entry.name) + 1 :].partition(".")[0]
            if not hasattr(sys.modules.get(entry.name), "__path__") and missing not in sys.modules:
                self.folder.report("import-missing", module=missing)

    def _show(self, now: float, stack: list[Entry]) -> None:
        if not stack:
            others = list(self.busy.values())
            stack = list(others[-1]) if others else []
        current = stack[-1] if stack else None
        top = current.top if current else None
        due = now >= self.due
        # Always when the package changes: nobody can tell beforehand which one will not come back.
        if top == self.shown and now - self.shown_at < REFRESH_S:
            return
        self.shown, self.shown_at = top, now
        if due:
            self.due = now + PAUSE_S
            self.packages = to_json(self.largest(6, stack, now))
        package, module = to_json(top[:50] if top else None), to_json(current.name[:150] if current else None)
        text = '"at":%r,"now":%s,"module":%s,"modules":%d' % (now, package, module, self.count)  # noqa: UP031
        text = "{" + text + ',"packages":' + self.packages + "}"
        self.folder.show(text.encode("utf-8", "backslashreplace"))
        if due:
            self.folder.wake()


def application_in(names: dict[str, object], attribute: str) -> Json:
    """Say whether a module has the attribute (None: unknown), and what in it looks like an application."""
    present: bool | None = attribute in names
    if not attribute or (not present and "__getattr__" in names):
        present = None
    candidates = []
    for name, value in list(names.items()):
        bases = {(str(kind.__module__).partition(".")[0], kind.__name__) for kind in type(value).__mro__}
        if bases & APPLICATIONS or (name in FACTORIES and callable(value)):
            candidates.append(name[:64])
    return {"attribute": present, "candidates": candidates[:MAX_CANDIDATES]}


def watch_spawned(spawn: ModuleType) -> None:
    """Let the children that multiprocessing spawns run this file before anything else.

    Their command is changed and not what they are told to run, so that their `__main__` is as by hand.
    """
    original: Callable[..., list[str]] = spawn.get_command_line

    def get_command_line(**arguments: object) -> list[str]:
        command = original(**arguments)
        if "-c" in command:
            command[command.index("-c") + 1] = PRELUDE + command[command.index("-c") + 1]
        return command

    spawn.get_command_line = get_command_line  # type: ignore[attr-defined]


def own_files() -> tuple[str, ...]:
    """Name the files whose frames a start by hand does not have."""
    runpy = sys.modules.get("runpy")
    ours = (HERE, BOOTSTRAP)
    return (*ours, runpy.run_module.__code__.co_filename) if runpy else ours


def describe(error: BaseException) -> Json:
    """Return an exception as data: what was raised, then what it came from, innermost frames last."""
    # `linecache` is written in Python; a file that shadows what it needs may be the very cause. Then frames
    # come without their lines.
    try:
        from linecache import getline
    except Exception:  # noqa: BLE001 - whatever a user's file of the same name raises
        getline = None  # type: ignore[assignment]
    return describe_chain(error, getline, set(), 0)


def describe_chain(
    error: BaseException | None, getline: Callable[..., str] | None, seen: set[int], depth: int
) -> Json:
    """Describe an exception and what it came from; `seen` cuts cycles and bounds the whole."""
    chain: list[Json] = []
    link = None
    while (
        error is not None and id(error) not in seen and len(chain) < MAX_CHAIN and len(seen) < MAX_EXCEPTIONS
    ):
        seen.add(id(error))
        chain.append(dict(describe_one(error, getline), link=link))
        nested = attribute_of(error, "exceptions")
        if isinstance(nested, tuple) and depth < MAX_GROUP_DEPTH:
            members = [member for member in nested[:MAX_GROUP] if isinstance(member, BaseException)]
            chain[-1]["exceptions"] = [describe_chain(member, getline, seen, depth + 1) for member in members]
        if error.__cause__ is not None:
            error, link = error.__cause__, "cause"
        else:
            error, link = (None if error.__suppress_context__ else error.__context__), "context"
    return {"chain": chain}


def describe_one(error: BaseException, getline: Callable[..., str] | None) -> Json:
    """Describe one exception by itself."""
    kind = type(error)
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the code of the exception's class is foreign
        message = f"<unprintable {kind.__name__} object>"
    notes = attribute_of(error, "__notes__")
    notes = (
        [note[:MAX_TEXT] for note in notes[:MAX_NOTES] if isinstance(note, str)]
        if type(notes) is list
        else []
    )
    named = isinstance(error, (ImportError, NameError, AttributeError))
    number = error.errno if isinstance(error, OSError) else None
    return {
        "type": kind.__qualname__[:MAX_TEXT],
        "module": str(kind.__module__)[:MAX_TEXT],
        "message": message[:MAX_MESSAGE],
        "notes": notes,
        "name": text_of(error, "name") if named else None,
        "path": text_of(error, "path") if isinstance(error, ImportError) else None,
        "syntax": {
            "file": text_of(error, "filename"),
            "line": number_of(error, "lineno"),
            "offset": number_of(error, "offset"),
            "text": text_of(error, "text"),
            "message": text_of(error, "msg"),
        }
        if isinstance(error, SyntaxError)
        else None,
        "errno": number if isinstance(number, int) else None,
        "filename": text_of(error, "filename") if isinstance(error, OSError) else None,
        "frames": frames_of(error.__traceback__, getline),
        "exceptions": [],
    }


def attribute_of(error: BaseException, name: str) -> object:
    """Return an attribute, or None: a property may be missing or raise."""
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001 - a property of the exception's class is foreign code
        return None


def text_of(error: BaseException, name: str) -> str | None:
    """Return an attribute that is text or a path."""
    value = attribute_of(error, name)
    if isinstance(value, (bytes, os.PathLike)):
        value = os.fsdecode(value)
    return value[:MAX_TEXT] if isinstance(value, str) else None


def number_of(error: BaseException, name: str) -> int | None:
    """Return an attribute that is a whole number."""
    value = attribute_of(error, name)
    return value if isinstance(value, int) else None


def frames_of(traceback: TracebackType | None, getline: Callable[..., str] | None) -> list[Json]:
    """Return the frames that are the user's or a library's: the first and the last of very many."""
    hidden = IMPORT_SYSTEM + own_files()
    found: list[tuple[str, int, str, Json]] = []
    while traceback is not None:
        code, line = traceback.tb_frame.f_code, traceback.tb_lineno
        if code.co_filename not in hidden:
            found.append((code.co_filename, line or 0, code.co_name, traceback.tb_frame.f_globals))
        traceback = traceback.tb_next
    if len(found) > FIRST_FRAMES + LAST_FRAMES:
        del found[FIRST_FRAMES:-LAST_FRAMES]
    frames = []
    for file, line, function, names in found:
        try:
            source = getline(file, line, names).strip() if getline else ""
        except Exception:  # noqa: BLE001 - a loader's get_source is foreign code
            source = ""
        frames.append({"file": file, "line": line, "function": function, "source": source[:MAX_TEXT]})
    return frames


def trimmed(traceback: TracebackType | None) -> TracebackType | None:
    """Drop from a traceback the frames that a start by hand does not have."""
    hidden = own_files()
    while traceback is not None and traceback.tb_frame.f_code.co_filename in hidden:
        traceback = traceback.tb_next
    frame = traceback
    while frame is not None and frame.tb_next is not None:
        if frame.tb_next.tb_frame.f_code is Timed.__call__.__code__:
            frame.tb_next = frame.tb_next.tb_next
        else:
            frame = frame.tb_next
    return traceback


def show_trimmed() -> None:
    """Let the hook that shows what ends the process see a trimmed traceback.

    Called on the way out: as long as the server runs, sys.excepthook is what it is by hand.
    """
    previous = sys.excepthook

    def excepthook(kind: type, value: BaseException, traceback: TracebackType | None) -> None:
        value.__traceback__ = trimmed(traceback)
        previous(kind, value, value.__traceback__)

    sys.excepthook = excepthook


def watch(role: str, application: str) -> RunFolder | None:
    """Install what watches this process, if the kernel has left a folder to report to."""
    path = os.environ.get("MASUKA_RUN", "")
    if not (os.path.isabs(path) and os.path.isdir(path)):
        return None
    folder = RunFolder(path)
    if role == "main" and application:
        folder.remember_application(application)
    folder.catch_stacks()
    Hook(folder, application or folder.application()).install()
    version = ".".join(str(part) for part in sys.version_info[:3])
    path0 = sys.path[0] if sys.path else None
    folder.report("hello", python=version, executable=sys.executable or "", role=role, path0=path0)
    return folder


def main_module() -> Json:
    """Put a fresh `__main__` in place of this one, and return its names."""
    module = type(sys)("__main__")
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = module
    return module.__dict__


def run_application_server(name: str) -> None:
    """Run a module under this file's `__main__`, so that spawned children run this file again."""
    import runpy
    from importlib.util import find_spec

    try:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = find_spec(name + ".__main__")
        if spec is not None and spec.origin is not None:
            sys.argv[0] = spec.origin
    except ImportError:
        pass  # What is missing, runpy says better.
    runpy.run_module(name, run_name="__main__", alter_sys=False)


def run_module(name: str) -> None:
    """Run a module as `python -m` does: by the very function."""
    main_module()
    import runpy

    runpy._run_module_as_main(name)  # type: ignore[attr-defined]  # noqa: SLF001


def run_script(path: str) -> None:
    """Run a file as `python FILE` does."""
    full = os.path.abspath(path)
    try:
        with io.open_code(full) as file:
            source = file.read()
    except OSError as error:
        sys.stderr.write(
            f"{sys.executable}: can't open file {full!r}: [Errno {error.errno}] {error.strerror}\n"
        )
        sys.exit(2)
    # Absolute since Python 3.9, as it was written before.
    file_name = full if sys.version_info >= (3, 9) else path
    names = main_module()
    names.update(__file__=file_name, __cached__=None, __loader__=SourceFileLoader("__main__", file_name))
    code = compile(source, file_name, "exec", dont_inherit=True)
    exec(code, names)  # noqa: S102 - this is what running a script is


def missing_target(error: BaseException, target: str) -> ImportError | None:
    """Return runpy's own complaint that there is no such module to run, if this is one."""
    found = error.__context__ if isinstance(error, SystemExit) else error
    frame = found.__traceback__ if found is not None else None
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None or frame.tb_frame.f_code.co_name != "_get_module_details":
        return None
    # runpy raises its own class, or an ImportError without the name.
    return ImportError(str(found), name=target)


def run(target: str, *, as_module: bool, serves_application: bool) -> None:
    """Run the target as `__main__`."""
    if not as_module:
        run_script(target)
    elif serves_application:
        run_application_server(target)
    else:
        run_module(target)


def main(arguments: list[str]) -> None:
    """Run the target that the command line names, watched where there is a folder to report to."""
    application = ""
    while arguments and arguments[0] in {"--app", "--factory"}:
        if arguments.pop(0) == "--app":
            application = arguments.pop(0) if arguments else ""
    as_module = arguments[:1] == ["-m"]
    if len(arguments) < 1 + as_module:
        sys.exit(
            "usage: bootstrap.py [--app MODULE:ATTRIBUTE] [--factory] (-m MODULE | SCRIPT) [ARGUMENT ...]"
        )
    target = arguments[1] if as_module else arguments[0]
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        # The folder of this file, whose modules would shadow the user's.
        sys.path[0] = os.getcwd() if as_module else os.path.dirname(os.path.realpath(target))
    sys.argv = ["-m", *arguments[2:]] if as_module else arguments
    folder = watch("main", application)
    if folder and not application:
        folder.report("import-started", module=target)
    try:
        run(target, as_module=as_module, serves_application=bool(application))
    except BaseException as error:
        missing = missing_target(error, target)
        crash = missing or error
        if folder and not isinstance(crash, (SystemExit, KeyboardInterrupt)):
            folder.report("crashed", exception=describe(crash))
        if missing is not None:
            sys.exit(f"{sys.executable}: {missing}")
        show_trimmed()
        raise


HERE = main.__code__.co_filename
BOOTSTRAP = HERE[: -len("child.py")] + "bootstrap.py"
# It leaves no name in the child's `__main__`, and does nothing when this file has gone meanwhile.
PRELUDE = (
    "exec(compile(open({0!r}, 'rb').read(), {0!r}, 'exec'), {{'__name__': {1!r}}})"
    " if __import__('os').path.exists({0!r}) else None; "
).format(os.path.abspath(BOOTSTRAP), SPAWNED)

if __name__ == "__main__":
    main(sys.argv[1:])
elif __name__ in {"__mp_main__", SPAWNED}:
    watch("child", "")
