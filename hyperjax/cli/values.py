"""Numbers as somebody types them."""


def number(text: str) -> int | float | str:
    """The number that a text is, or else the text, for the message of whoever wants a number."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def seed_of(text: str) -> int:
    """The seed that a text is.

    Raises: ValueError for what is no whole number of at least 0.
    """
    seed = number(text)
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
    return seed
