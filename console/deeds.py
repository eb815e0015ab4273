"""What was done to a scene's versions, and what the gate decided, in words.

Promises that a row of a kind that is not known here is shown as it stands. Pure functions; knows nothing of pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from console.words import ago
from core.decisions import Written
from core.look.html import Html, joined, tag
from core.registry import short
from core.types import Version

WORDS = {
    "register": " was registered",
    "promote": " became champion",
    "rollback": " became champion again",
    "quarantine": " was put in quarantine",
    "release": " was released from quarantine",
    "challenge": " challenges the champion",
    "end challenge": " challenges no more",
    "hold": ": its newest head is held back",
    "lift": ": its head is held back no more",
    "accept": ": the head that was held back is let through",
}


def history(rows: Sequence[Mapping[str, Any]], versions: Sequence[Version], now: float) -> Html:
    """Rows of the audit, newest first."""
    numbers = {version.version: version.number for version in versions}
    if not rows:
        return tag("p", "Nothing was done yet.", class_="soft")
    return tag(
        "ol",
        *(tag("li", ago(float(row["at"]), now), tag("div", sentence(row, numbers))) for row in rows),
        class_="history",
    )


def sentence(row: Mapping[str, Any], numbers: Mapping[str, int]) -> Html:
    """One row.

    >>> sentence({"action": "promote", "version": "a" * 64, "previous": "b" * 64, "detail": {}}, {"a" * 64: 2})
    '<b>Version 2</b> became champion in place of <b>version bbbbbbbbbbbb</b>'
    """
    detail = row.get("detail") or {}
    one, before = _version(row.get("version"), numbers), _version(row.get("previous"), numbers)
    one = Html(one.replace("<b>v", "<b>V", 1))
    told = WORDS.get(row["action"], f": {row['action']}")
    instead = joined([" in place of ", before]) if before else None
    return joined([one, told, instead, _terms(detail) if row["action"] == "challenge" else _because(detail)])


def decided(written: Sequence[Written], versions: Sequence[Version], now: float) -> Html:
    """Decisions of the gate, newest first: the candidate against whom, on how many examples, and every check."""
    numbers = {version.version: version.number for version in versions}
    lines = []
    for each in written:
        judged = each.record.get("holdouts")
        rows = sum(int(of.get("rows", 0)) for of in judged.values()) if isinstance(judged, Mapping) else 0
        became = joined([", and became ", _version(each.version, numbers)]) if each.version else None
        verdict = "accepted" if each.accepted else "left to live labels" if each.record.get("undecided") else "refused"
        against = joined(["A candidate was ", tag("b", verdict), " beside "])
        told = joined([against, _version(each.champion, numbers), f" on {rows:,} labelled examples", became])
        lines.append(tag("li", ago(each.at, now), tag("div", told, record(each.record))))
    return tag("ol", *lines, class_="history")


def record(found: Mapping[str, Any]) -> Html | None:
    """The gate's record, where this is one: every check, those that failed first."""
    if not isinstance(found.get("checks"), Sequence):
        return None
    checks = sorted(found["checks"], key=lambda check: bool(check.get("holds")))
    cannot = "The gate cannot tell" if found.get("undecided") else "The gate refused it"
    verdict = "The gate accepted it" if found.get("accepted") else cannot
    return tag(
        "details",
        tag("summary", f"{verdict}: {sum(bool(check.get('holds')) for check in checks)} of {len(checks)} checks hold"),
        tag("ul", *(_check(check) for check in checks)),
    )


def _check(check: Mapping[str, Any]) -> Html:
    holds = bool(check.get("holds"))
    words = str(check.get("words") or check.get("name"))
    return tag(
        "li", tag("span", "holds" if holds else "fails", class_="chip good" if holds else "chip bad"), " ", words
    )


def _version(version: object, numbers: Mapping[str, int]) -> Html:
    if version is None:
        return Html("")
    return tag("b", f"version {numbers.get(str(version), short(str(version)))}")


def _terms(detail: Mapping[str, Any]) -> str:
    """How a version challenges."""
    share = f"{100 * float(detail.get('share') or 0):g} % of the traffic"
    how = f": it answers {share}" if detail.get("mode") == "split" else f": it gets a copy of {share}"
    return how + (", and evidence decides" if detail.get("judge") == "evidence" else "")


def _because(detail: Mapping[str, Any]) -> str:
    return f": {detail['reason']}" if detail.get("reason") else ""
