"""The data report as one HTML page with what was found.

Promises that every name from the data is escaped (class names are hostile strings), and that an input that cannot be
read costs a tile and no more. Knows
nothing of how findings are made, or of how an input is shown: its modality does (training.kinds).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.errors import LeptonError
from core.look.html import document, text
from training import kinds
from training.report import KINDS, DataReport, Finding

CARDS = 24  # findings drawn for each kind; the rest is counted
DRAWN = {"label_error", "conflict", "twin_conflict", "leak", "duplicate", "twin", "alike"}
SIDES = {"train": "var(--first)", "validation": "var(--second)", "test": "var(--third)"}


def write(report: DataReport, file: Path) -> None:
    """Write the page to ``file``; OSError where that is not possible."""
    file.write_text(render(report), encoding="utf-8")


def render(report: DataReport) -> str:
    """The page as a string."""
    counts = report.counts()
    found = "".join(_section(kind, report) for kind in counts) or "<p>Nothing was found.</p>"
    several = "".join(_classes(f"Classes of {name}", each.classes) for name, each in report.tasks.items())
    classes = several if report.tasks else _classes("Classes", report.classes)
    sides = " · ".join(f"{text(side)} {count}" for side, count in report.splits.items())
    return document(
        "Data report",
        f"<h1>Data report: {text(Path(report.root).name)}</h1>"
        f"<p>{report.seen} inputs seen, <b>{report.kept} kept</b>, {report.dropped} dropped.</p>"
        f'<p class="soft">{text(report.modality)} · {text(report.task)} · {sides}</p>'
        f"{classes}{found}",
    )


def _classes(title: str, classes: Mapping[str, Mapping[str, int]]) -> str:
    if not classes:
        return ""
    widest = max(sum(counts.values()) for counts in classes.values())
    rows = []
    for label, counts in classes.items():
        bars = "".join(
            f'<i style="width:{100 * n / widest:.2f}%;background:{SIDES[side]}"></i>' for side, n in counts.items()
        )
        cells = "".join(f'<td class="n">{n}</td>' for n in counts.values())
        rows.append(f'<tr><td>{text(label)}</td>{cells}<td class="bar"><div>{bars}</div></td></tr>')
    heads = "".join(f'<th class="n">{text(side)}</th>' for side in next(iter(classes.values())))
    return f"<h2>{text(title)}</h2><table><tr><th>class</th>{heads}<th></th></tr>{''.join(rows)}</table>"


def _section(kind: str, report: DataReport) -> str:
    findings = report.of(kind)
    cards = "".join(_card(finding, report) for finding in findings[:CARDS])
    more = len(findings) - CARDS
    rest = f'<p class="soft">and {more} more; the JSON report names all</p>' if more > 0 else ""
    return f'<h2>{text(KINDS[kind])} · {len(findings)}</h2><div class="cards">{cards}</div>{rest}'


def _card(finding: Finding, report: DataReport) -> str:
    drawn = [name for name in (finding.path, finding.other) if name] if finding.kind in DRAWN else []
    tiles = "".join(_tile(name, report) for name in drawn)
    lines = [f"<b>{text(finding.path)}</b>", text(finding.detail)]
    if finding.other:
        lines.append(f"see {text(finding.other)}")
    if finding.label is not None:
        lines.append(f"label {text(finding.label)}")
    lines.append("dropped" if finding.dropped else "kept")
    frame = f"<div>{tiles}</div>" if drawn else ""
    return f'<div class="card">{frame}{"<br>".join(lines)}</div>'


def _tile(name: str, report: DataReport) -> str:
    """An input as its modality shows it, or a word where it cannot be read (any more) or is somebody's."""
    if name in report.private:
        return '<span class="soft">a person’s, so not shown</span>'
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
