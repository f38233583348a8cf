"""Whatever is typed, only a configuration or a ConfigError of one line comes out."""

from __future__ import annotations

import random

import pytest

from masuka_magic.config.model import ConfigError, StartConfig
from masuka_magic.config.schema import KEYS, TOP_NAMES

TOML = [
    *TOP_NAMES, "[env]\n", "[health]\n", "[database]\n", "[[env]]\n", "url", " = ", "=", "\n", ".", '"', "'",
    '"""', "#",
    "true", "false", "1", "-1", "1e400", "nan", "inf", "0x" + "f" * 4000, "1979-05-27T07:32:00Z", "[", "]",
    "{", "}", ", ",
    '"$A"', '"${A}"', '"${A"', '"$$"', '"a:b"', '"x.py"', '"/x"', '"auto"', '"never"', '"10 min"', '"1 GB"',
    '"~"', '"~x"',
    '"postgresql://u:p@h/d"', '"a \'b"', '"\\u0000"', '"\\ud800"', "é", "\x00", "\r", "\ufeff", " ",
]  # fmt: skip
LINE = [
    *(key.option for key in KEYS.values()), "--no-wait", "--restart", "--zz", "-h", "--", "-", "=", " ", " ",
    "'", '"', "\\",
    "#", "a:b", "x.py", "1", "-1", "abc", "{", "[1]", "$A", "$NO", "K=V", "true", "auto", "1 GB", "~", "\x00",
    "\ud800", "é", "\n",
]  # fmt: skip
VALUES = [
    None, True, False, 0, -1, 8000, 10**400, 1.5, float("nan"), float("inf"), "", "a:b", "x.py", "$A", "/x",
    "auto", "\0",
    "\ud800", b"x", [], ["a"], [1], (), {}, {"url": 1}, {1: 2}, {"A": "b"}, {"path": "/x"}, object(), set(), 10**18,
]  # fmt: skip


def only_refuses(read, *args, **kernel):
    try:
        assert isinstance(read(*args, namespace={"A": "value"}, **kernel), StartConfig)
    except ConfigError as error:
        text = str(error)
        assert "\n" not in text
        assert len(text) <= 200
        text.encode()


@pytest.mark.parametrize("seed", range(4))
def test_any_cell(read, seed):
    """Random TOML and what resembles it."""
    choose = random.Random(seed)
    for _ in range(700):
        only_refuses(read, "", "".join(choose.choices(TOML, k=choose.randint(1, 12))))


@pytest.mark.parametrize("seed", range(4))
def test_any_assignments(read, seed):
    """Random values for valid keys."""
    choose = random.Random(seed)
    for _ in range(700):
        cell = "\n".join(
            f"{choose.choice(TOP_NAMES)} = {choose.choice(TOML)}" for _ in range(choose.randint(1, 3))
        )
        only_refuses(read, "", cell)


@pytest.mark.parametrize("seed", range(4))
def test_any_line(read, seed):
    """Random words on the line."""
    choose = random.Random(seed)
    for _ in range(700):
        only_refuses(read, choose.choice(["", " "]).join(choose.choices(LINE, k=choose.randint(1, 8))))


@pytest.mark.parametrize("seed", range(4))
def test_any_argument_of_python(read, seed):
    """Random objects from Python."""
    choose = random.Random(seed)
    names = [*TOP_NAMES, "wait", "zzz", 5]
    for _ in range(700):
        start = {choose.choice(names): choose.choice(VALUES) for _ in range(choose.randint(1, 3))}
        only_refuses(read, start=start)


@pytest.mark.parametrize("seed", range(2))
def test_any_file(read, seed):
    """Random .env and env files."""
    choose = random.Random(seed)
    parts = [
        "A",
        "DATABASE_URL",
        "=",
        " ",
        "\n",
        "'",
        '"',
        "#",
        "${A}",
        "${",
        "\\",
        "export ",
        "\x00",
        "é",
        "x://u:p@h",
    ]
    for _ in range(700):
        text = "".join(choose.choices(parts, k=choose.randint(1, 12)))
        only_refuses(read, "", "env_file = 'e'", files={"/nb/e": text, "/nb/.env": text})
