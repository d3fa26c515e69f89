"""Names of documents, which callers choose, as prompts may show them."""

from __future__ import annotations


def shown_name(name: str, limit: int) -> str:
    """The first `limit` characters of a name; what is not to be seen stands as Python writes it in a string.

    So a name stays on its line and in its order: line breaks, controls, and what reverses or joins letters are not
    printable in the sense of `str.isprintable`. Ordinary names are shown as they are.
    """
    cut = name[:limit]
    if cut.isprintable():
        return cut
    return "".join(sign if sign.isprintable() and sign != "\\" else _escaped(sign) for sign in cut)


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
