"""The one look of every page that Lepton writes: no script, no request, legible in light and dark, at a desk and on a
phone.

Promises that a page is complete in itself (a strict content policy says so to the browser), that ``text`` makes any
name from the data inert, and that ``tag`` lets nothing through as markup which is not ``Html``. Knows nothing of what a
page tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"

STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
COLOURS = ("var(--first)", "var(--second)", "var(--third)", "var(--fourth)")
VOID = frozenset({"br", "hr", "img", "input", "source"})


class Html(str):
    """Markup that may stand in a page as it is. Whatever else is put into a page is escaped."""


def tag(name: str, *inside: object, **attributes: object) -> Html:
    """An element: what is inside is escaped unless it is ``Html``, and left out where it is None.

    Attributes that are None or False are left out, those that are True have no value; ``class_`` is ``class``, and
    other underscores are hyphens.

    >>> tag("b", "a < b", tag("br"), class_="soft", hidden=True, title=None)
    '<b class="soft" hidden>a &lt; b<br></b>'
    """
    told = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{told}>")
    return Html(f"<{name}{told}>{joined(inside)}</{name}>")


def joined(parts: Iterable[object]) -> Html:
    """Parts one after the other, escaped where they are not ``Html``."""
    return Html("".join(part if isinstance(part, Html) else text(part) for part in parts if part is not None))


def named(name: object, most: int = 60) -> Html:
    """A name that came with the data: cut where it is long, whole on pointing at it, in its own direction of writing.

    >>> named("ward 7")
    '<bdi>ward 7</bdi>'
    """
    whole = str(name)
    if len(whole) <= most:
        return tag("bdi", whole)
    return tag("bdi", whole[: most - 1] + "…", title=whole)


def document(title: str, body: str) -> str:
    """A whole page; ``body`` is HTML, ``title`` any text."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def text(value: object) -> str:
    """Any value as text that is neither markup nor control characters.

    >>> text("<b>")
    '&lt;b&gt;'
    """
    return escape(shown(value))


def shown(value: object) -> str:
    """A value as text with everything that is not printable escaped, so that a file name cannot steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1, chosen: Sequence[int] = ()) -> Html:
    """A table of cells that are HTML already; the first ``words`` columns hold words, the others figures."""
    kind = ["" if place < words else ' class="n"' for place in range(len(heads))]
    top = "".join(f"<th{of}>{text(head)}</th>" for of, head in zip(kind, heads, strict=True))
    body = []
    for place, row in enumerate(rows):
        cells = "".join(f"<td{of}>{cell}</td>" for of, cell in zip(kind, row, strict=True))
        body.append(f"<tr{' class=chosen' if place in chosen else ''}>{cells}</tr>")
    return Html(f'<div class="scroll"><table><tr>{top}</tr>{"".join(body)}</table></div>')


def _attribute(name: str, value: object) -> str:
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{text(value)}"'
