"""The format of .env files, as python-dotenv reads it."""

from __future__ import annotations

import pytest

from masuka_magic.config.dotenv import statements, values

# Each row was compared with python-dotenv 1.2.4's dotenv_values.
FILES = [
    ("", {}),
    ("A=1\nB = 2 \n", {"A": "1", "B": "2"}),
    ("\ufeffA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ("export A=1\nexport\tB=2", {"A": "1", "B": "2"}),
    ("# A=1\n\n  # x\nB=2", {"B": "2"}),
    ("A=1 # comment\nB=1#2\nC=#x\nD= # x\nE='#x' # c", {"A": "1", "B": "1#2", "C": "#x", "D": "", "E": "#x"}),
    ("A=\nB=''\nC", {"A": "", "B": ""}),
    ("A='x y'\nB=\"x y\"\nC=x y", {"A": "x y", "B": "x y", "C": "x y"}),
    ("A='a\\'b\\n'\nB=\"a\\\"b\\n\\t\\$\"", {"A": "a'b\\n", "B": 'a"b\n\t\\$'}),
    ('A="one\ntwo"\nB=3', {"A": "one\ntwo", "B": "3"}),
    ("'A b'=1", {"A b": "1"}),
    ("A='open\nB=2", {"B": "2"}),
    ("A B\nC=3", {"C": "3"}),
    ("A='x'y\nC=3", {"C": "3"}),
    ("A=1\nA=2", {"A": "2"}),
    ("A=1\nA", {}),
    ("A=p=q==", {"A": "p=q=="}),
    ("A=1\nB=${A}-${NONE}-${NONE:-d}-$A", {"A": "1", "B": "1--d-$A"}),
    ("A='${HOST}'", {"A": "env-host"}),
    ("B=${A}\nA=1", {"B": "", "A": "1"}),
    ("A=é", {"A": "é"}),
]


@pytest.mark.parametrize(("text", "expected"), FILES, ids=[str(number) for number in range(len(FILES))])
def test_a_file_is_read_as_python_dotenv_reads_it(text, expected):
    """Quotes, comments, export, references; what cannot be read is skipped."""
    assert expected == values(statements(text), {"HOST": "env-host"}, file_first=True)


def test_whose_value_a_reference_gets():
    """The file's where it overrides the environment, the environment's as with override=False."""
    found = statements("A=file\nB=${A}")
    assert {"A": "file", "B": "file"} == values(found, {"A": "env"}, file_first=True)
    assert {"A": "file", "B": "env"} == values(found, {"A": "env"}, file_first=False)


def test_a_statement_knows_its_line():
    """An unreadable statement has no name, and the number of its line."""
    assert [("A", 1), (None, 4), ("C", 5)] == [(s.name, s.line) for s in statements("A='1\n2'\n\nB B\nC=1")]


def test_a_large_file_is_read_in_linear_time():
    """Many statements are no more work for each than a few: the test's limit is minutes away."""
    text = "A1234=${B}\n" * 40_000
    assert 40_000 == len(statements(text))
