"""The line's words, its comments and its help."""

from __future__ import annotations

import pytest

from masuka_magic.config.line import asks_for_help, line_help, split_line
from masuka_magic.config.schema import KEYS, OPTIONS, nearest


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", []),
        ("  a   b ", ["a", "b"]),
        ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
        ("a # comment", ["a"]),
        ("# comment 'with an apostrophe", []),
        ("a#b c", ["a#b", "c"]),
        ("'# no' \"# no\" yes", ["# no", "# no", "yes"]),
        ("a \\# b # c", ["a", "#", "b"]),
        ("'a\\' # c", ["a\\"]),
        ('"a\\" # b"', ['a" # b']),
    ],
)
def test_the_line_is_split_like_a_shells(line, expected):
    """Quotes hold words together; a comment begins at a # after a blank, never inside a word or a quotation."""
    assert expected == split_line(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-h", True),
        ("a:b --help --prot", True),
        ("# --help", False),
        ("--port 1", False),
        ("'open -h", False),
    ],
)
def test_help_is_asked_for_by_a_word(line, expected):
    """-h and --help anywhere on the line, whatever else stands there."""
    assert expected == asks_for_help(line)


def test_the_help_has_every_option_in_80_columns():
    """Made from the key table, so no key is missing."""
    text = line_help()
    assert max(len(line) for line in text.splitlines()) < 80
    for option in [*(key.option for key in KEYS.values()), *(shown for _, shown, _ in OPTIONS.values())]:
        assert f"\n  {option}" in text, option
    assert "uvicorn" in text


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("prot", "port"),
        ("cmd", "command"),
        ("environment", "env"),
        ("Env-File", "env_file"),
        ("qqqq", None),
        ("", None),
    ],
)
def test_the_nearest_name(word, expected):
    """By letters, by what other tools call it, or none at all."""
    assert expected == nearest(word, [path[0] for path in KEYS])


def test_a_very_long_word_is_no_work():
    """The nearest name of a megabyte is looked for in its beginning."""
    assert nearest("x" * 1_000_000, [path[0] for path in KEYS]) is None
