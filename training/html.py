"""The one look of every page that Lepton writes: no script, no request, legible in light and dark, at a desk and on a
phone.

Promises that a page is complete in itself (a strict content policy says so to the browser) and that ``text`` makes any
name from the data inert. Knows nothing of what a page tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from training.report import shown

POLICY = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --page: #f6f7f9; --card: #ffffff; --line: #d9dee5;
  --first: #3b6fb6; --second: #b87514; --third: #2f8f6b; --fourth: #8a4fb0; --good: #116b3c; --bad: #b42318;
  --wash: 59 111 182; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf0; --soft: #9aa6b5; --page: #14181e; --card: #1d232b;
  --line: #333c47; --first: #7aa7e6; --second: #e3b053; --third: #62c59d; --fourth: #c79be8; --good: #5ecb93;
  --bad: #ff8a80; --wash: 122 167 230; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.6rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.15rem; } p { margin: .25rem 0; }
.soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); }
code { overflow-wrap: anywhere; } .scroll { overflow-x: auto; margin-bottom: 1rem; }
.scroll td:not(.n) { min-width: 7rem; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .3rem .6rem; text-align: left;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; } th { color: var(--soft); font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } tr.chosen td {
  font-weight: 600; } td.bar { width: 45%; } td.bar div { display: flex; height: .8rem; } td.bar i { display: block; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .75rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .75rem; font-size: .88rem;
  overflow-wrap: anywhere; } .card div { display: flex; gap: .5rem; min-height: 1rem; margin-bottom: .4rem; }
.card q { flex: 1; } .card audio { width: 100%; } .card dl { flex: 1; margin: 0; display: grid; gap: 0 .5rem;
  grid-template-columns: auto 1fr; } .card dt { color: var(--soft); } .card dd { margin: 0; }
.card img { max-height: 112px; max-width: 50%; background: #fff; border: 1px solid var(--line); }
.charts { display: grid; margin-bottom: 1rem; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
figure { margin: 0; max-width: 44rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .75rem; }
figcaption { font-size: .88rem; color: var(--soft); } svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; } svg text.ink { fill: var(--ink); }
"""
COLOURS = ("var(--first)", "var(--second)", "var(--third)", "var(--fourth)")


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


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1, chosen: Sequence[int] = ()) -> str:
    """A table of cells that are HTML already; the first ``words`` columns hold words, the others figures."""
    kind = ["" if place < words else ' class="n"' for place in range(len(heads))]
    top = "".join(f"<th{of}>{text(head)}</th>" for of, head in zip(kind, heads, strict=True))
    body = []
    for place, row in enumerate(rows):
        cells = "".join(f"<td{of}>{cell}</td>" for of, cell in zip(kind, row, strict=True))
        body.append(f"<tr{' class=chosen' if place in chosen else ''}>{cells}</tr>")
    return f'<div class="scroll"><table><tr>{top}</tr>{"".join(body)}</table></div>'
