"""What operators are given hangs together: the page on metrics and alerts, the rules, their tests and the dashboard."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase

from learner.metrics import Metrics as Learning
from service.metrics import Kept
from service.metrics import Metrics as Serving
from tests.watching import DASHBOARD, NAME, ROOT, RULES, expressions, panels, rules
from training.metrics import Metrics as Training

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS = [line.split()[-1] for line in rules() if "- alert:" in line]
ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<kind>\w+) \|(?P<labels>[^|]*)\| (?P<meaning>[^|]+) \|$", re.MULTILINE)


def section(heading: str) -> str:
    """What stands below a heading, up to the next of any level."""
    match = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, f"the page has no heading {heading!r}"
    return match[1]


def told(heading: str) -> list[tuple[str, str, tuple[str, ...]]]:
    rows = ROW.finditer(section(heading))
    return [(row["name"], row["kind"], tuple(re.findall(r"`(\w+)`", row["labels"]))) for row in rows]


def there(metrics: object) -> list[tuple[str, str, tuple[str, ...]]]:
    """Name as it is scraped, type and labels of every metric."""
    made = [held.metric if isinstance(held, Kept) else held for held in vars(metrics).values()]
    held = [metric for metric in made if isinstance(metric, MetricWrapperBase)]
    return [(m._name + ("_total" if m._type == "counter" else ""), str(m._type), tuple(m._labelnames)) for m in held]


@pytest.mark.parametrize(
    ("heading", "kind"),
    [("Metrics of the service", Serving), ("Metrics of the learner", Learning), ("Metrics of the trainer", Training)],
)
def test_the_page_lists_exactly_the_metrics_that_exist(heading: str, kind: type[Any]) -> None:
    listed = told(heading)
    assert len(listed) == len(set(listed)) == section(heading).count("| `lepton_")
    assert sorted(listed) == sorted(there(kind()))


def test_the_page_explains_every_alert_and_no_other() -> None:
    assert len(ALERTS) == len(set(ALERTS)) > 10
    assert re.findall(r"^### (\w+)$", PAGE, re.MULTILINE) == ALERTS
    for alert in ALERTS:
        assert len(section(alert).split()) > 20, f"{alert} is not explained"


def test_every_alert_is_tested_firing_and_not_firing() -> None:
    text = (RULES / "alerts_test.yaml").read_text(encoding="utf-8")
    tested = re.findall(r"alertname: (\w+)\n\s+exp_alerts:( \[\])?", text)
    assert {(name, not quiet) for name, quiet in tested} == {
        (name, fires) for name in ALERTS for fires in (True, False)
    }


def test_rules_and_dashboard_name_only_metrics_of_the_page() -> None:
    known = {name for heading in ("service", "learner", "trainer") for name, _, _ in told(f"Metrics of the {heading}")}
    assert metrics(rules()) and metrics(rules()) <= known
    assert metrics(expressions()) == known, "every metric has its place on the dashboard"


def metrics(texts: list[str]) -> set[str]:
    """What is named, without what Prometheus adds to the name of a histogram."""
    return {re.sub("_(bucket|sum|count)$", "", name) for name in NAME.findall("\n".join(texts))}


def test_every_panel_says_what_it_shows_in_which_unit() -> None:
    for panel in panels():
        assert re.search(r"\(.+\)$", panel["title"]), f"{panel['title']} has no unit"
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert len(panel["description"]) > 20
        assert panel["targets"]


def test_the_dashboard_has_its_data_source_as_a_variable_and_panels_that_do_not_overlap() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    variables = {variable["name"]: variable["type"] for variable in board["templating"]["list"]}
    assert variables == {"datasource": "datasource", "scene": "query"}
    sources = [panel["datasource"]["uid"] for panel in panels()]
    sources += [target["datasource"]["uid"] for panel in panels() for target in panel["targets"]]
    assert set(sources) == {"${datasource}"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24
        taken |= cells
