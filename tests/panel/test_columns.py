"""Foreign text is harmless and as wide as counted."""

from __future__ import annotations

import random

import pytest

from masuka_magic.panel.columns import columns, cut, harmless, wrap

HOSTILE = [
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]0;never ends and hides the rest",
    "\x1b[2J\x1b[1;1H\x1bc\x9b31m\x90q\x1b\\",
    "NUL \x00 BEL \x07 BS \b\b\b DEL \x7f VT \x0b FF \x0c",
    "10 %\r20 %\r30 %\r",
    "evil \u202etxt.exe\u202c \u2066x\u2069 \u200e\u200f\u061c",
    "line\u2028separator\u2029paragraph\u0085next",
    "zero\u200bwidth\ufeff\u00ad\U000e0041tag",
    "lone \ud800 surrogate \udcff",
    "日本語のログ行 한국어 \uff46\uff55\uff4c\uff4c",
    "e\u0301" * 50 + "Z" + "\u0335" * 500,
    "👩\u200d👩\u200d👧 ❤\ufe0f 🇩🇪",
    "\t\ttabs\tin\tit",
    "x" * 100_000,
    "",
    " ",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_harmless(text: str) -> None:
    """No control character is left, nothing that reverses or hides, and UTF-8 can carry it."""
    shown = harmless(text)
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in shown)
    assert not set(shown) & set("\u202e\u202c\u2066\u2069\u200e\u200f\u061c\u2028\u2029\u200b\ufeff")
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("red", "\x1b[31mred\x1b[0m"),
        ("0;never ends", "\x1b]0;never ends"),
        ("30 %", "10 %\r20 %\r30 %\r"),
        ("a\\x00b", "a\x00b"),
        ("<U+202E>fdp", "\u202efdp"),
        ("é日本 🙂", "é日本 🙂"),
    ],
)
def test_what_is_left_says_what_was_there(expected: str, text: str) -> None:
    """Escapes vanish, controls are named, letters of all languages stay."""
    assert expected == harmless(text)


@pytest.mark.parametrize(
    ("expected", "text"),
    [(0, ""), (3, "abc"), (4, "日本"), (1, "e\u0301"), (2, "🙂"), (2, "❤\ufe0f"), (1, "é")],
)
def test_columns_are_those_of_a_terminal(expected: int, text: str) -> None:
    """Wide characters take two, marks none; in doubt too many."""
    assert expected == columns(text)


@pytest.mark.parametrize(
    ("expected", "text", "width"),
    [("abc", "abc", 3), ("ab…", "abcd", 3), ("日…", "日本語", 4), ("…", "abc", 1), ("", "abc", 0)],
)
def test_what_is_cut_says_so(expected: str, text: str, width: int) -> None:
    """An ellipsis stands for what is missing; a wide character is not halved."""
    assert expected == cut(text, width)


@pytest.mark.parametrize(
    ("expected", "text", "width"),
    [
        (["one two", "three"], "one two three", 9),
        (["abcd", "efgh", "i"], "abcdefghi", 4),
        (["日本", "語"], "日本語", 5),
        ([""], "", 5),
    ],
)
def test_text_is_wrapped_at_spaces(expected: list[str], text: str, width: int) -> None:
    """A word that is longer than the line is broken where it must."""
    assert expected == wrap(text, width)


def test_no_wrapped_line_is_too_wide_and_nothing_is_lost() -> None:
    """For any text and any width of at least two columns."""
    chance = random.Random(7)
    alphabet = "ab  日語e\u0301🙂-"
    for _ in range(2_000):
        text = harmless("".join(chance.choices(alphabet, k=chance.randrange(60))))
        width = chance.randrange(2, 30)
        lines = wrap(text, width)
        assert all(columns(line) <= width for line in lines)
        assert text.replace(" ", "") == "".join(lines).replace(" ", "")
        assert columns(cut(text, width)) <= width
        assert len(wrap(text, width, most=2)) <= 2
