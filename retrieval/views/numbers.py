"""Numbers that come in an address, a form or a header."""

# Primary keys have 19 at most; and Python refuses to read thousands of them.
MOST_DIGITS = 18


def number_in(text: str) -> int | None:
    """None where it is none, or longer than the database would take."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None
