"""Start a web backend from a notebook cell and, when it does not come up, say why."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from masuka_magic.backend import Backend
    from masuka_magic.outcome import StartFailed, StartInterrupted

__version__ = "0.1.0"
__all__ = ["StartFailed", "StartInterrupted", "__version__", "start"]


def start(target: str | None = None, /, **settings: Any) -> Backend:
    """Start a backend as `%%masuka_start` does and return what `masuka` is.

    `target` and `settings` are the keys of the cell (`app=`, `cwd=`, `port=`, `env={…}`, `database={…}`, …) and the
    options `wait`, `restart`, `reuse`, `text`, `quiet`. Raises ConfigError for bad input, before anything is
    started; StartFailed when the backend does not become ready; StartInterrupted after an interrupt stopped it.
    """
    import shlex

    from masuka_magic.config import read_config
    from masuka_magic.config.world import kernel_world
    from masuka_magic.session import current_session
    from masuka_magic.show import choose_view

    session = current_session()
    world = kernel_world(session.namespace or {})
    config, options = read_config(
        line=shlex.quote(target) if target else "", cell=None, overrides=settings, world=world
    )
    return session.start(config, options, choose_view(options))


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register the magics. Loading twice or again leaves one set of them. Not on Windows: one line says so."""
    if sys.platform == "win32":
        print("masuka_magic needs Linux or macOS: on Windows, run the notebook in WSL")  # noqa: T201 - the answer
        return
    from masuka_magic.magics import MasukaMagics

    shell.register_magics(MasukaMagics)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away again. A running backend and the names `masuka` and `backend_process` stay."""
    for kind in shell.magics_manager.magics.values():
        for name in [name for name in kind if name.startswith("masuka_")]:
            del kind[name]
    show = sys.modules.get("masuka_magic.show")
    if show is not None:
        show.leave_cells(shell)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name has a type of its own, above
    """Bring the public errors when they are first asked for."""
    if name in {"StartFailed", "StartInterrupted"}:
        from masuka_magic import outcome

        return getattr(outcome, name)
    if name == "ConfigError":
        from masuka_magic.config.model import ConfigError

        return ConfigError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
