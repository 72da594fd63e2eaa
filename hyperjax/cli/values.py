"""Numbers as somebody types them."""


def number(text: str) -> int | float | str:
    """The number that a text is, or else the text, for the message of whoever wants a number."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
