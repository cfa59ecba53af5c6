"""What validation says, in the operator's words instead of the library's."""

from collections.abc import Iterable
from difflib import get_close_matches

from pydantic_core import ErrorDetails

from monitor.config.problem import tells_too_much
from monitor.config.values import kind_of, quoted

_WORDS = {
    "missing": "is missing",
    "int_type": "{value} is not a whole number such as 3",
    "int_parsing_size": "{value} is too large",
    "float_type": "{value} is not a number such as 2.5",
    "finite_number": "{value} is not a finite number",
    "bool_type": "{value} is not true or false",
    "string_type": '{value} is not a text in quotes such as "this"',
    "string_too_short": "is empty",
    "string_too_long": "is too long: at most {max_length} characters",
    "too_short": "is empty",
    "greater_than_equal": "{value} is too small: at least {ge}",
    "greater_than": "{value} is too small: it has to be more than {gt}",
    "less_than_equal": "{value} is too large: at most {le}",
    "model_type": '{kind} is not a table such as {{ key = "value" }}',
    "dict_type": '{kind} is not a table such as {{ key = "value" }}',
    "tuple_type": '{value} is not a list such as ["a", "b"]',
}
"""By the library's name for the error; what stands in braces comes with it."""


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """`did you mean "interval"?`, what is known where that is little, or nothing."""
    names = sorted(name for name in known if not tells_too_much(name))
    near = get_close_matches(wrong.lower(), names, 1, 0.65) or [
        name for name in names if len(wrong) > 2 and wrong.lower() in name.split("_")
    ]
    if near:
        return f"did you mean {quoted(near[0])}?"
    return f"known here: {', '.join(names)}" if 0 < len(names) <= 12 else ""


def unknown_key(wrong: str, known: Iterable[str]) -> str:
    """What to say about a key that is not known."""
    hint = suggestion(wrong, known)
    return f"unknown key; {hint}" if hint else "unknown key"


def words(error: ErrorDetails) -> str:
    """What is wrong with a value, and what would be right. Not for unknown keys."""
    kind, limits = error["type"], error.get("ctx", {})
    value = error.get("input")
    if kind == "value_error":
        return str(limits["error"])
    if kind == "literal_error":
        return _choice(value, str(limits["expected"]))
    if kind in _WORDS:
        round_limits = {
            key: f"{limit:.12g}" if isinstance(limit, float) else limit for key, limit in limits.items()
        }
        return _WORDS[kind].format(value=quoted(value), kind=kind_of(value), **round_limits)
    return f"{error['msg'][:1].lower()}{error['msg'][1:]}"


def _choice(value: object, expected: str) -> str:
    names = expected.replace("'", '"')
    choices = names.replace('"', "").replace(" or ", ", ").split(", ")
    near = get_close_matches(value, choices, 1) if isinstance(value, str) else []
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f"{quoted(value)} is not {names}{hint}"
