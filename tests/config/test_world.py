"""The thin edge: real files, the real environment, and Colab's secrets as its published source gives them."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from typing import Any

import pytest

from masuka_magic.config import ConfigError, read_config
from masuka_magic.config.world import LARGEST_FILE_BYTES, colab_secret, kernel_world, read_small_file


def test_a_kernel_is_its_folder_its_interpreter_and_its_environment(tmp_path, monkeypatch):
    """kernel_world looks at this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MASUKA_TEST_ONLY", "x")
    world = kernel_world({"a": 1})
    assert (str(tmp_path), sys.executable, "x") == (
        world.cwd,
        world.python,
        world.environ["MASUKA_TEST_ONLY"],
    )
    assert {"a": 1} == world.namespace
    assert world.which("sh") is not None


def test_a_real_folder_is_read(tmp_path, monkeypatch):
    """masuka.toml, an env file and .env of a real folder make one configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    (tmp_path / "masuka.toml").write_text('app = "a:b"\nenv_file = "e.env"\npython = "venv/bin/python"\n')
    (tmp_path / "e.env").write_text("A=1\n")
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://h/d\n")
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to(sys.executable)
    config, _ = read_config(line="", cell=None, overrides=None, world=kernel_world({}))
    assert ({"A": "1"}, str(tmp_path / "venv/bin/python")) == (config.env, config.python)
    assert config.database is not None
    assert "DATABASE_URL" not in os.environ


def test_a_folder_that_is_gone_is_one_clear_line(tmp_path, monkeypatch):
    """A kernel whose folder was removed has no place to start anything."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(ConfigError, match=r"^the kernel's working folder no longer exists"):
        kernel_world({})


def test_only_small_regular_files_are_read(tmp_path):
    """A pipe without a writer, a folder and a huge file are errors, and none of them makes the kernel wait."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    large = tmp_path / "large"
    large.write_bytes(b"x" * (LARGEST_FILE_BYTES + 1))
    assert read_small_file(str(tmp_path / "none")) is None
    assert read_small_file(str(large / "below-a-file")) is None
    for path, why in (
        (pipe, "no regular file"),
        (tmp_path, "no regular file|directory"),
        (large, "larger than 1 MB"),
    ):
        with pytest.raises(OSError, match=why):
            read_small_file(str(path))
    (tmp_path / "bad").write_bytes(b"\xff\xfe")
    with pytest.raises(UnicodeDecodeError):
        read_small_file(str(tmp_path / "bad"))


@pytest.fixture
def colab(monkeypatch):
    """The interface of google/colab/userdata.py: Colab's own package exists in Colab alone."""
    userdata: Any = types.ModuleType("google.colab.userdata")
    for name in ("SecretNotFoundError", "NotebookAccessError", "TimeoutException"):
        setattr(userdata, name, type(name, (Exception,), {}))

    def get(name):
        if name == "HF_TOKEN":
            return "the-token"
        raise getattr(userdata, name, RuntimeError)(name)

    userdata.get = get
    package: Any = types.ModuleType("google.colab")
    package.userdata = userdata
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.setitem(sys.modules, "google.colab.userdata", userdata)
    if "google" not in sys.modules:
        monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))


def test_outside_colab_there_are_no_secrets():
    """Nothing is imported where Colab is not running."""
    assert colab_secret("HF_TOKEN") is None


def test_colabs_secrets_are_given_or_unknown(colab):
    """A secret is its value; a name that Colab does not know is no error here."""
    assert "the-token" == colab_secret("HF_TOKEN")
    assert colab_secret("SecretNotFoundError") is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "NotebookAccessError",
            "this notebook has no access to Colab's secret NotebookAccessError, allow it in the Secrets panel",
        ),
        (
            "TimeoutException",
            "Colab did not give the secret TimeoutException in time, run the cell again",
        ),
        ("OTHER", "Colab could not give the secret OTHER: RuntimeError"),
    ],
)
def test_a_secret_that_the_user_must_see_to_is_one_clear_line(colab, name, expected):
    """No access and no answer say what to do, at the key that needs the secret."""
    with pytest.raises(ConfigError) as caught:
        read_config(line="", cell=f'[env]\nX = "${name}"', overrides=None, world=kernel_world({}))
    assert f"cell, [env]: X: {expected}" == str(caught.value)


def test_importing_the_room_imports_nothing_heavy():
    """The names come when they are used: loading the extension pays for none of them."""
    code = (
        "import sys, masuka_magic.config as c, masuka_magic.redact\n"
        "heavy = {'tomllib', 'argparse', 'shlex', 'dataclasses', 'difflib', 'masuka_magic.config.model'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "c.StartConfig, c.read_config, c.World, c.line_help\n"
        "print(sorted({'tomllib', 'argparse', 'difflib'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n[]\n" == done.stdout


def test_every_public_name_is_there():
    """What the room promises can be had, and what it does not have is an AttributeError."""
    import masuka_magic.config as room

    assert all(hasattr(room, name) for name in room.__all__)
    assert room.__all__ == dir(room)
    with pytest.raises(AttributeError):
        _ = room.nothing
