"""The notebook's door: each magic parses its line, asks the session, and shows the answer.

The only importer of IPython. Everything heavy is imported by the first magic that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class

if TYPE_CHECKING:
    from masuka_magic.backend import Backend
    from masuka_magic.config.model import StartConfig, StartOptions
    from masuka_magic.session import Session

T = TypeVar("T")


@magics_class
class MasukaMagics(Magics):
    """`%%masuka_start` and its companions."""

    @property
    def _session(self) -> Session:
        from masuka_magic.session import current_session

        session = current_session()
        session.namespace = self._namespace
        return session

    @property
    def _namespace(self) -> dict[str, Any]:
        if self.shell is None:  # traitlets allows it; a registered Magics has its shell
            raise UsageError("masuka_magic is not loaded: %load_ext masuka_magic")
        namespace: dict[str, Any] = self.shell.user_ns
        return namespace

    @line_cell_magic
    def masuka_start(self, line: str, cell: str | None = None) -> None:
        """Check, start, show and wait until the backend is ready; raise StartFailed when it does not come up."""
        from masuka_magic.config import asks_for_help, line_help
        from masuka_magic.show import choose_view

        if asks_for_help(line):
            print(line_help())
            return
        config, options = self._read(line, cell)
        session = self._session
        session.start(config, options, choose_view(options))
        for name in session.kept_names():
            print(f"note: `{name}` is a name of your own here and was left alone")

    @line_cell_magic
    def masuka_check(self, line: str, cell: str | None = None) -> None:
        """Run the checks alone; nothing is started."""
        from masuka_magic.config import asks_for_help, line_help
        from masuka_magic.show import choose_view

        if asks_for_help(line):
            print(line_help())
            return
        config, options = self._read(line, cell)
        self._session.check(config, choose_view(options, findings=True))

    @line_magic
    def masuka_logs(self, line: str) -> None:
        """Print the captured stderr: the last 200 lines and the size of the rest.

        -n N, --stdout, --both, --grep PATTERN, --follow, --save FILE, --raw (secrets and control characters as
        they are), and the name of a service.
        """
        from masuka_magic.reading import parse_logs_line, print_logs

        wish = _parsed(parse_logs_line, line)
        print_logs(self._backend(wish.name), wish)

    @line_magic
    def masuka_status(self, line: str) -> None:
        """Print one glance at the backend: state, pid, url, age, memory, last answer; --json for a program."""
        from masuka_magic.reading import parse_status_line, print_status

        wish = _parsed(parse_status_line, line)
        print_status(self._backend(wish.name), wish)

    @line_magic
    def masuka_stop(self, line: str) -> None:
        """Stop the backend and all that it started; an interrupt meanwhile kills it at once."""
        from masuka_magic.reading import parse_name_line, print_stopped
        from masuka_magic.run import stop_left_over

        name = _parsed(lambda text: parse_name_line("%masuka_stop", text), line)
        session = self._session
        if session.find(name) is None and (stopped := stop_left_over(name)):
            print("\n".join(stopped))
            return
        backend = self._backend(name)
        was_over = backend.over
        backend.stop()
        print_stopped(backend, was_over=was_over)

    @line_magic
    def masuka_restart(self, line: str) -> None:
        """Stop the backend and start the same configuration again."""
        from masuka_magic.reading import parse_name_line

        name = _parsed(lambda text: parse_name_line("%masuka_restart", text), line)
        self._session.restart(self._backend(name))

    def _backend(self, name: str | None) -> Backend:
        backend = self._session.find(name)
        if backend is not None:
            return backend
        known = ", ".join(self._session.backends)
        if name is not None and known:
            raise UsageError(f"no backend named {name!r} was started here; there is {known}")
        raise UsageError("no backend was started in this kernel; start one with %%masuka_start")

    def _read(self, line: str, cell: str | None) -> tuple[StartConfig, StartOptions]:
        from masuka_magic.config import ConfigError, read_config
        from masuka_magic.config.world import kernel_world

        try:
            return read_config(line=line, cell=cell, overrides=None, world=kernel_world(self._namespace))
        except ConfigError as error:
            raise UsageError(str(error)) from None


def _parsed(parse: Callable[[str], T], line: str) -> T:
    """Parse a magic's line; what is wrong with it is one line, as IPython shows a usage error."""
    from masuka_magic.config import ConfigError

    try:
        return parse(line)
    except ConfigError as error:
        raise UsageError(str(error)) from None
