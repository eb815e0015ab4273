"""The data report as one HTML page with what was found: no script, no request, legible in light and dark.

Promises that every name from the data is escaped (class names are hostile strings), that the page is complete in itself
(a strict content policy says so to the browser), and that an input that cannot be read costs a tile and no more. Knows
nothing of how findings are made, or of how an input is shown: its modality does (training.kinds).
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from core.errors import LeptonError
from training import kinds
from training.report import KINDS, DataReport, Finding, shown

CARDS = 24  # findings drawn for each kind; the rest is counted
DRAWN = {"label_error", "conflict", "twin_conflict", "leak", "duplicate", "twin", "alike"}

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --page: #f6f7f9; --card: #ffffff; --line: #d9dee5;
  --train: #3b6fb6; --validation: #c98a1b; --test: #2f8f6b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf0; --soft: #9aa6b5; --page: #14181e; --card: #1d232b;
  --line: #333c47; --train: #7aa7e6; --validation: #e3b053; --test: #62c59d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 72rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .25rem; font-size: 1.6rem; } h2 { margin: 2.5rem 0 .75rem; font-size: 1.15rem; }
p { margin: .25rem 0; } .soft { color: var(--soft); }
table { border-collapse: collapse; width: 100%; } th, td { padding: .3rem .6rem; text-align: left;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; } td.n, th.n { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; } td.bar { width: 45%; }
.bars { display: flex; height: .8rem; } .bars i { display: block; height: 100%; }
.train { background: var(--train); } .validation { background: var(--validation); } .test { background: var(--test); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .75rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .75rem; font-size: .88rem;
  overflow-wrap: anywhere; } .card div { display: flex; gap: .5rem; min-height: 1rem; margin-bottom: .4rem; }
.card q { flex: 1; } .card audio { width: 100%; } .card dl { flex: 1; margin: 0; display: grid; gap: 0 .5rem;
  grid-template-columns: auto 1fr; } .card dt { color: var(--soft); } .card dd { margin: 0; }
.card img { max-height: 112px; max-width: 50%; background: #fff; border: 1px solid var(--line); }
"""


def write(report: DataReport, file: Path) -> None:
    """Write the page to ``file``; OSError where that is not possible."""
    file.write_text(render(report), encoding="utf-8")


def render(report: DataReport) -> str:
    """The page as a string."""
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    counts = report.counts()
    found = "".join(_section(kind, report) for kind in counts) or "<p>Nothing was found.</p>"
    several = "".join(_classes(f"Classes of {name}", each.classes) for name, each in report.tasks.items())
    classes = several if report.tasks else _classes("Classes", report.classes)
    sides = " · ".join(f"{escape(side)} {count}" for side, count in report.splits.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Data report</title><style>{STYLE}</style></head><body><main>"
        f"<h1>Data report: {_text(Path(report.root).name)}</h1>"
        f"<p>{report.seen} inputs seen, <b>{report.kept} kept</b>, {report.dropped} dropped.</p>"
        f'<p class="soft">{escape(report.modality)} · {escape(report.task)} · {sides}</p>'
        f"{classes}{found}</main></body></html>\n"
    )


def _text(value: object) -> str:
    return escape(shown(value))


def _classes(title: str, classes: Mapping[str, Mapping[str, int]]) -> str:
    if not classes:
        return ""
    widest = max(sum(counts.values()) for counts in classes.values())
    rows = []
    for label, counts in classes.items():
        bars = "".join(f'<i class="{side}" style="width:{100 * n / widest:.2f}%"></i>' for side, n in counts.items())
        cells = "".join(f'<td class="n">{n}</td>' for n in counts.values())
        rows.append(f'<tr><td>{_text(label)}</td>{cells}<td class="bar"><div class="bars">{bars}</div></td></tr>')
    heads = "".join(f'<th class="n">{escape(side)}</th>' for side in next(iter(classes.values())))
    return f"<h2>{_text(title)}</h2><table><tr><th>class</th>{heads}<th></th></tr>{''.join(rows)}</table>"


def _section(kind: str, report: DataReport) -> str:
    findings = report.of(kind)
    cards = "".join(_card(finding, report) for finding in findings[:CARDS])
    more = len(findings) - CARDS
    rest = f'<p class="soft">and {more} more; the JSON report names all</p>' if more > 0 else ""
    return f'<h2>{escape(KINDS[kind])} · {len(findings)}</h2><div class="cards">{cards}</div>{rest}'


def _card(finding: Finding, report: DataReport) -> str:
    drawn = [name for name in (finding.path, finding.other) if name] if finding.kind in DRAWN else []
    tiles = "".join(_tile(name, report) for name in drawn)
    lines = [f"<b>{_text(finding.path)}</b>", _text(finding.detail)]
    if finding.other:
        lines.append(f"see {_text(finding.other)}")
    if finding.label is not None:
        lines.append(f"label {_text(finding.label)}")
    lines.append("dropped" if finding.dropped else "kept")
    frame = f"<div>{tiles}</div>" if drawn else ""
    return f'<div class="card">{frame}{"<br>".join(lines)}</div>'


def _tile(name: str, report: DataReport) -> str:
    """An input as its modality shows it, or a word where it cannot be read (any more)."""
    data = report.contents.get(name)
    try:
        if data is None:
            file = Path(report.root) / name
            if not file.is_file():
                return '<span class="soft">gone</span>'
            data = file.read_bytes()
        return kinds.kind(report.modality).tile(data)
    except (OSError, LeptonError):
        return '<span class="soft">unreadable</span>'
