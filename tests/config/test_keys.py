"""Every key of the table: from the cell, the line and Python to the field of the configuration."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from masuka_magic.config.model import Health, StartConfig, Target
from masuka_magic.config.schema import KEYS, TARGETS

# key, TOML, the line's words, Python's value, field, expected
KEYS_SEEN = [
    ("app", '"a.b:c"', "--app a.b:c", "a.b:c", "target", Target("app", "a.b:c")),
    ("app", '"a:make()"', "'a:make()'", "a:make()", "target", Target("app", "a:make()")),
    ("script", '"run/serve.py"', "run/serve.py", "run/serve.py", "target", Target("script", "run/serve.py")),
    ("script", '"~/s.py"', "--script ~/s.py", "~/s.py", "target", Target("script", "/home/me/s.py")),
    ("module", '"a.serve"', "--module a.serve", "a.serve", "target", Target("module", "a.serve")),
    (
        "command",
        "\"node 'my server.js'\"",
        "--command \"node 'my server.js'\"",
        "node 'my server.js'",
        "target",
        Target("command", "node 'my server.js'", ("node", "my server.js")),
    ),
    ("factory", "true", "--factory", True, "factory", True),
    ("server", '"hypercorn"', "--server hypercorn", "hypercorn", "server", "hypercorn"),
    ("server", '"Gunicorn"', "--server=Gunicorn", "Gunicorn", "server", "gunicorn"),
    (
        "args",
        '["--reload", "a b"]',
        "--args \"--reload 'a b'\"",
        ("--reload", "a b"),
        "args",
        ("--reload", "a b"),
    ),
    (
        "args",
        "\"--reload 'a b'\"",
        "--args --reload --args \"'a b'\"",
        "--reload 'a b'",
        "args",
        ("--reload", "a b"),
    ),
    ("args", '["{host}:{port}"]', "--args {host}:{port}", ["{host}:{port}"], "args", ("{host}:{port}",)),
    ("python", '"py39"', "--python py39", "py39", "python", "/opt/py39"),
    (
        "python",
        '"venv/bin/python"',
        "--python venv/bin/python",
        Path("venv/bin/python"),
        "python",
        "/nb/venv/bin/python",
    ),
    (
        "python",
        '"~/v/bin/python"',
        "--python ~/v/bin/python",
        "~/v/bin/python",
        "python",
        "/home/me/v/bin/python",
    ),
    ("cwd", '"sub/../other"', "--cwd sub/../other", "sub/../other", "cwd", "/nb/other"),
    ("cwd", '"/abs"', "--cwd /abs", Path("/abs"), "cwd", "/abs"),
    ("cwd", '"~"', "--cwd '~'", "~", "cwd", "/home/me"),
    (
        "env",
        '{A = "1", B = 8000, C = true, D = 1.5}',
        "--env A=1 --env B=8000 --env C=true --env D=1.5",
        None,
        "env",
        {"A": "1", "B": "8000", "C": "true", "D": "1.5"},
    ),
    ("env_file", '"e"', "--env-file e", "e", "env_file", ("/nb/e",)),
    ("env_file", '["e", "f"]', "--env-file e --env-file f", ["e", Path("f")], "env_file", ("/nb/e", "/nb/f")),
    ("host", '"0.0.0.0"', "--host 0.0.0.0", "0.0.0.0", "host", "0.0.0.0"),
    ("host", '"[::1]"', "--host [::1]", "[::1]", "host", "::1"),
    ("port", "9000", "--port 9000", 9000, "port", 9000),
    ("port", '"auto"', "--port AUTO", "auto", "port", None),
    ("health", '"/up"', "--health /up", "/up", "health", Health(path="/up")),
    ("health", '{path = "/up"}', "--health=/up", {"path": "/up"}, "health", Health(path="/up")),
    ("health", "{status = 204}", "--health-status 204", {"status": 204}, "health", Health(status=204)),
    (
        "health",
        '{json = {db = "up", n = [1]}}',
        '--health-json \'{"db": "up", "n": [1]}\'',
        {"json": {"db": "up", "n": (1,)}},
        "health",
        Health(json={"db": "up", "n": [1]}),
    ),
    (
        "health",
        '{timeout = "500 ms"}',
        "--health-timeout 0.5s",
        {"timeout": 0.5},
        "health",
        Health(timeout_s=0.5),
    ),
    ("health", '{owner = "any"}', "--health-owner any", {"owner": "any"}, "health", Health(owner="any")),
    ("gpu", "true", "--gpu", True, "gpu", True),
    ("gpu", "false", "--no-gpu", False, "gpu", False),
    ("stall", "90", "--stall 90", 90, "stall_s", 90.0),
    ("stall", '"2 min"', "--stall '2 min'", "2 min", "stall_s", 120.0),
    ("max_wait", '"1 h"', "--max-wait 1h", "1 hour", "max_wait_s", 3600.0),
    ("on_stall", '"stop"', "--on-stall stop", "stop", "on_stall", "stop"),
    ("liveness", "0", "--liveness 0", 0, "liveness_s", 0.0),
    ("orphan_grace", "5", "--orphan-grace 5", 5, "orphan_grace_s", 300.0),
    ("orphan_grace", '"30 s"', "--orphan-grace 30s", "30 s", "orphan_grace_s", 30.0),
    ("orphan_grace", '"never"', "--orphan-grace never", "never", "orphan_grace_s", None),
    ("max_log", "200000", "--max-log 200000", 200_000, "max_log_bytes", 200_000),
    ("max_log", '"1.5 GB"', "--max-log 1.5GB", "1.5 GB", "max_log_bytes", 1_500_000_000),
    ("max_log", '"1 MiB"', "--max-log '1 MiB'", "1 MiB", "max_log_bytes", 1_048_576),
    ("name", '"api-2"', "--name api-2", "api-2", "name", "api-2"),
]
KERNEL = {"files": {"/nb/e": "X=1", "/nb/f": "Y=2"}, "programs": {"py39": "/opt/py39"}}


def seen(config: StartConfig, field: str) -> object:
    value = getattr(config, field)
    return {name: text for name, text in value.items() if len(name) == 1} if field == "env" else value


@pytest.mark.parametrize("case", KEYS_SEEN, ids=[f"{case[0]}={case[1]}" for case in KEYS_SEEN])
def test_a_key_of_the_cell_is_its_field(read, case):
    """What TOML says of a key stands in the field."""
    name, toml, _, _, field, expected = case
    assert expected == seen(read("", f"{name} = {toml}", **KERNEL), field)


@pytest.mark.parametrize("case", KEYS_SEEN, ids=[f"{case[2]}" for case in KEYS_SEEN])
def test_an_option_of_the_line_is_its_field(read, case):
    """The same said on the line stands in the same field."""
    name, _, line, _, field, expected = case
    line = line if name in TARGETS else f"a:b {line}"
    assert expected == seen(read(line, **KERNEL), field)


@pytest.mark.parametrize("case", [c for c in KEYS_SEEN if c[3] is not None], ids=lambda c: f"{c[0]}={c[3]!r}")
def test_an_argument_of_python_is_its_field(read, case):
    """The same given to masuka_magic.start stands in the same field."""
    name, _, _, value, field, expected = case
    assert expected == seen(read(start={name: value}, **KERNEL), field)


def test_every_key_of_the_table_is_tried():
    """No key of the schema is without a row above, but for the database, which has its own tests."""
    assert {path[0] for path in KEYS} - {"database", "shell"} == {case[0] for case in KEYS_SEEN}


def test_the_defaults_are_those_of_the_model(read):
    """An empty start differs from the model's defaults in nothing."""
    config = read(start={"app": "app.main:app"})
    plain = StartConfig(Target("app", "app.main:app"), cwd="/nb", python="/usr/bin/kernel-python")
    for field in fields(StartConfig):
        if field.name != "raw":
            assert getattr(plain, field.name) == getattr(config, field.name), field.name


def test_a_command_in_a_shell_is_not_split(read):
    """With `shell` the text goes to /bin/sh as it is."""
    expected = Target("command", "a | b", ("/bin/sh", "-c", "a | b"))
    assert expected == read("", 'command = "a | b"\nshell = true').target
    assert expected == read("--command 'a | b' --shell").target


def test_a_cell_without_a_target_starts_the_usual_application(read):
    """The default of the target is app.main:app, in the kernel's folder."""
    config = read("", "port = 9000")
    assert (Target("app", "app.main:app"), "/nb") == (config.target, config.cwd)


def test_paths_hang_on_the_backends_folder(read):
    """Interpreter and env files are looked for in `cwd`, which hangs on the kernel's folder."""
    config = read("", 'cwd = "b"\npython = "v/bin/python"\nenv_file = "../e"', files={"/nb/e": ""})
    assert ("/nb/b", "/nb/b/v/bin/python", ("/nb/e",)) == (config.cwd, config.python, config.env_file)


def test_the_variables_of_env_files_are_added_and_env_overrides_them(read):
    """As in Compose: a later file overrides an earlier one, [env] overrides both; a bare name adds nothing."""
    cell = 'env_file = ["e", "f"]\n[env]\nC = "cell"'
    files = {"/nb/e": "A=e\nB=e\nC=e\nBARE\n", "/nb/f": "B=f\nD=${A}-${HOME}-${NONE:-x}\n"}
    expected = {"A": "e", "B": "f", "C": "cell", "D": "e-/home/me-x"}
    assert expected == read("", cell, files=files).env


def test_a_dotenv_is_not_put_into_the_environment(read):
    """`.env` in the folder is read to find the database's URL, and for nothing else."""
    config = read("a:b", files={"/nb/.env": "DATABASE_URL=postgresql://h/d\nA=1\n"})
    assert {} == config.env
    assert config.database is not None


def test_options_say_how_the_call_behaves(read_options):
    """The options of the line and the arguments of Python are the same."""
    from masuka_magic.config.model import StartOptions

    expected = StartOptions(wait=False, restart=True, text=True, quiet=True)
    assert expected == read_options("--no-wait --restart --text --quiet")
    assert expected == read_options(start={"wait": False, "restart": True, "text": True, "quiet": True})
    assert StartOptions(reuse=True) == read_options("--reuse --no-quiet --wait")
    assert StartOptions() == read_options("")
