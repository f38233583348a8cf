"""Whether a running backend is the one that is wanted: the decision, and what counts as its source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from masuka_magic.config.model import Health, StartConfig, Target
from masuka_magic.reuse import MOST_FOLDERS, changed_keys, changed_sources, decide, snapshot

CONFIG = StartConfig(Target("app", "main:app"), cwd="/p", python="/usr/bin/python3")


@pytest.mark.parametrize(
    ("new", "phase", "changed", "wish", "expected"),
    [
        (CONFIG, "ready", (), "", (True, "already running with the same configuration and code: reused")),
        (CONFIG, "unhealthy", (), "", (False, "restarted: it was unhealthy")),
        (CONFIG, "ready", ("a.py",), "", (False, "restarted: a.py changed since the start")),
        (
            CONFIG,
            "ready",
            tuple("abcd"),
            "",
            (False, "restarted: a, b, c and 1 more changed since the start"),
        ),
        (CONFIG, "ready", (), "restart", (False, "restarted, as asked")),
        (CONFIG, "unhealthy", ("a.py",), "reuse", (True, "reused, as asked")),
        (replace(CONFIG, port=1), "ready", (), "reuse", (False, "restarted: port changed")),
        (
            replace(CONFIG, stall_s=1, max_log_bytes=2),
            "ready",
            (),
            "",
            (False, "restarted: stall, max_log changed"),
        ),
    ],
)
def test_the_decision_says_why(new, phase, changed, wish, expected) -> None:
    """Anything that changed restarts, and is named; a wish overrides all but another configuration."""
    wishes = {"restart": wish == "restart", "reuse": wish == "reuse"}
    decision = decide(CONFIG, new, phase=phase, changed_sources=changed, **wishes)
    assert (decision.reuse, decision.text) == expected


def test_a_reloading_server_looks_after_its_own_code() -> None:
    """With --reload a changed file is no reason to restart."""
    config = replace(CONFIG, args=("--reload",))
    decision = decide(config, config, phase="ready", changed_sources=("a.py",), restart=False, reuse=False)
    assert decision.reuse


def test_keys_are_named_as_the_user_writes_them_and_secrets_are_not_compared() -> None:
    """`raw`, `secrets` and the file's name are how it was said, not what was said."""
    other = replace(CONFIG, secrets=frozenset({"x"}), raw={"a": 1}, config_file="f", health=Health(path="/x"))
    assert changed_keys(CONFIG, other) == ("health",)


def test_sources_are_python_files_and_dotenv_outside_environments(tmp_path: Path) -> None:
    """A virtual environment, caches, data and hidden folders do not count."""
    for name in (
        "main.py",
        ".env",
        "pkg/a.py",
        "pkg/data.csv",
        "v/pyvenv.cfg",
        "v/lib/x.py",
        ".git/h.py",
        "build/b.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert sorted(snapshot(str(tmp_path))) == [".env", "main.py", "pkg/a.py"]


def test_a_change_an_addition_and_a_removal_are_seen(tmp_path: Path) -> None:
    """By time and size; nothing is read."""
    for name in ("same.py", "changed.py", "gone.py"):
        (tmp_path / name).write_text("1")
    before = snapshot(str(tmp_path))
    (tmp_path / "changed.py").write_text("22")
    (tmp_path / "gone.py").unlink()
    (tmp_path / "new.py").write_text("")
    assert changed_sources(before, snapshot(str(tmp_path))) == ("changed.py", "gone.py", "new.py")


def test_a_huge_folder_is_not_walked_to_its_end(tmp_path: Path) -> None:
    """A data set below the project does not hold a start up."""
    for i in range(MOST_FOLDERS + 50):
        folder = tmp_path / f"{i:05}"
        folder.mkdir()
        (folder / "x.py").write_text("")
    assert len(snapshot(str(tmp_path))) < MOST_FOLDERS
