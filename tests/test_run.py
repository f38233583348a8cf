"""What is observed of one run on disk."""

from __future__ import annotations

import socket

import pytest

from masuka_magic.config.model import StartConfig, Target
from masuka_magic.run import Run, probe_host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("::1", "::1"),
        ("localhost", "127.0.0.1"),
        ("no-such-host.invalid", "no-such-host.invalid"),
    ],
)
def test_the_backend_is_asked_at_a_number(host, expected, monkeypatch) -> None:
    """A wildcard is no address to ask, and a name may mean ::1 where the server listens on 127.0.0.1 alone."""
    real = socket.getaddrinfo

    def both_families(name, *rest, **more):
        if name == "localhost":
            return [*real("::1", *rest, **more), *real("127.0.0.1", *rest, **more)]
        if name.endswith(".invalid"):
            raise socket.gaierror(-2, "Name or service not known")
        return real(name, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", both_families)
    assert probe_host(host) == expected


def test_what_it_usually_takes_is_the_median_of_the_runs_before(tmp_path) -> None:
    """The history is in the records; a run that never was ready is none."""
    config = StartConfig(Target("app", "main:app"), cwd=str(tmp_path), python="/usr/bin/python3", port=1)
    for ready_s in (1.0, None, 9.0, 2.0):
        run = Run.create(config, {"XDG_STATE_HOME": str(tmp_path)}, [])
        run.leader = _this_process()
        assert run.write_record("ready" if ready_s else "failed", ready_s=ready_s) is None
        run.close()
    run = Run.create(config, {"XDG_STATE_HOME": str(tmp_path)}, [])
    assert run.usual_ready_s() == 2.0
    run.close()


def _this_process():
    import os

    from masuka_magic.process.identity import identify

    return identify(os.getpid())
