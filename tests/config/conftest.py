"""A kernel as values: reading a configuration touches nothing but what a test gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from masuka_magic.config.model import ConfigError, StartConfig, StartOptions
from masuka_magic.config.parse import read_config
from masuka_magic.config.world import World

Read = Callable[..., StartConfig]


def make_world(
    *,
    files: Mapping[str, str | Exception] | None = None,
    environ: Mapping[str, str] | None = None,
    namespace: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    programs: Mapping[str, str] | None = None,
) -> World:
    """Return a kernel that works in /nb and runs /usr/bin/kernel-python."""

    def read_text(path: str) -> str | None:
        content = (files or {}).get(path)
        if isinstance(content, Exception):
            raise content
        return content

    return World(
        cwd="/nb",
        python="/usr/bin/kernel-python",
        environ={"HOME": "/home/me"} if environ is None else environ,
        namespace=namespace or {},
        read_text=read_text,
        secret=(secrets or {}).get,
        which=(programs or {}).get,
    )


def read_both(
    line: str = "", cell: str | None = None, start: Mapping[str, Any] | None = None, **kernel: Any
) -> tuple[StartConfig, StartOptions]:
    return read_config(line=line, cell=cell, overrides=start, world=make_world(**kernel))


@pytest.fixture
def read() -> Read:
    """Read a configuration: line, cell, then by name start, files, environ, namespace, secrets, programs."""

    def read_one(*args: Any, **kernel: Any) -> StartConfig:
        return read_both(*args, **kernel)[0]

    return read_one


@pytest.fixture
def read_options() -> Callable[..., StartOptions]:
    """As `read`, for the options of the call."""

    def read_one(*args: Any, **kernel: Any) -> StartOptions:
        return read_both(*args, **kernel)[1]

    return read_one


@pytest.fixture
def error_of() -> Callable[..., str]:
    """As `read`, for input that must be refused: the error's text."""

    def read_one(*args: Any, **kernel: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            read_both(*args, **kernel)
        text = str(caught.value)
        assert "\n" not in text
        assert len(text) <= 160, f"{len(text)} characters: {text}"
        assert text[0].islower()
        return text

    return read_one
