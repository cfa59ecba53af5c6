"""The line of every key, against a parser that knows TOML."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.config.source import parse


def test_lines_of_tables_keys_and_what_is_not_there():
    source = parse(
        "x",
        "# top\n[site]\nname = 1\n\n[provider.a]\nx.y = 2\n[[provider.a.endpoints]]\nm = 1\n"
        '[[provider.a.endpoints]] # "comment\nprice = { input = "[" }\nlong = [\n  1, # ]\n  { a = 2 },\n]\n'
        'text = \'\'\'\nname = 5\n\'\'\'\n"quoted.key" = 1\n[provider.a.labels]\nb = """\\"""""\n\'c\' = 3\n',
    )
    endpoints = ("provider", "a", "endpoints")
    assert [
        source.line(path)
        for path in [
            ("site",),
            ("site", "name"),
            ("provider",),
            ("provider", "a", "x", "y"),
            (*endpoints, 0, "m"),
            (*endpoints, 1),
            (*endpoints, 1, "price", "input"),
            (*endpoints, 1, "long", 1, "a"),
            (*endpoints, 1, "text"),
            (*endpoints, 1, "quoted.key"),
            ("provider", "a", "labels", "b"),
            ("provider", "a", "labels", "c"),
            (*endpoints, 1, "missing"),
            ("nothing",),
        ]
    ] == [2, 3, 5, 6, 8, 9, 10, 13, 15, 18, 19 + 1, 21, 9, 1]


KEYS = st.sampled_from(["a", "b-c", '"d.e"', "'f g'", "5", '"\\u0041"', "x . y"])
VALUES = st.sampled_from(
    [
        "1",
        "true",
        '"#"',
        "'\\'",
        '"\\""',
        '"""a\n"b" = ]\n"""',
        "'''\n[x]\n'''",
        '""""q"""""',
        "[1,\n# ]\n2]",
        "{ a = 1, b.c = [2] }",
        "2026-12-01T02:00:00Z",
        "[[1], [\n]]",
        "-1.5e3",
    ]
)
LINES = st.one_of(
    st.builds(lambda key, value: f"{key} = {value}", KEYS, VALUES),
    st.builds(lambda key, value: f"  {key}={value} # c = 'd", KEYS, VALUES),
    st.builds("[{}.{}]".format, KEYS, KEYS),
    st.builds("[[{}]]".format, KEYS),
    st.builds("[ {} ] # ]".format, KEYS),
    st.just("# [a] b = 1"),
    st.just(""),
)


def paths(tree, path=()):
    """Every key outside of lists that are values."""
    for key, value in tree.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from paths(value, (*path, key))
        elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            for number, each in enumerate(value):
                yield (*path, key, number)
                yield from paths(each, (*path, key, number))


@given(st.lists(LINES, max_size=12))
def test_each_key_is_found_on_the_line_where_cutting_the_file_makes_it_appear(lines):
    text = "\n".join(lines)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    source = parse("x", text)
    rows = text.split("\n")
    for path in paths(tree):
        line = source.line(path)
        before = _readable("\n".join(rows[: line - 1]))
        assert before is None or path not in set(paths(before))
        after = _readable("\n".join(rows[:line]))
        assert after is None or path in set(paths(after))


def _readable(text):
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None  # the cut went through a value


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment"])
def test_a_file_without_keys_has_a_first_line(text):
    assert parse("x", text).line(("site",)) == 1


def test_a_table_whose_name_is_hidden_does_not_lack_the_line_of_another():
    one, other = "a" * 41, "b" * 41
    source = parse("x", f"[provider.{one}]\nurl: 1\n[provider.{other}]\nurl = 1\n")
    assert source.lacks_a_line_of(("provider", one))
    assert not source.lacks_a_line_of(("provider", other))
