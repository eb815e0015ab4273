"""A real Prometheus scrapes the service's workers, the learner and a trainer; the shipped rules and dashboard work on
that."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests import pico
from tests.asking import PNG, instance
from tests.homes import home_at
from tests.processes import House, Running, environment, free_port, house, lepton
from tests.waiting import until
from tests.watching import INSTALLED, NAME, Prometheus, expressions, prometheus, promtool, rules
from training import filing

pytestmark = pytest.mark.skipif(not INSTALLED, reason="prometheus and promtool are not installed; see tests/servers.sh")

LABELS = 6
TRAFFIC = 50  # predictions, enough for the drift settings below: a reference and a window
DRIFT: dict[str, Any] = {
    "LEPTON_DRIFT_EVERY_SECONDS": "0.5",
    "LEPTON_DRIFT_REFERENCE": "25",
    "LEPTON_DRIFT_WINDOW": "20",
}
PREDICT = "/v1/scenes/shapes/predict"


@dataclass(frozen=True)
class Watched:
    """A Prometheus that has scraped a service of two workers, a learner and a trainer, after the work below.

    Attributes:
        pages: addresses of the three pages of metrics.
        answered: predictions by worker.
    """

    server: Prometheus
    pages: tuple[str, ...]
    answered: Counter[str]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder, port, other = tmp_path_factory.mktemp("watched"), free_port(), free_port()
    home = home_at(folder / "home")
    pico.register(home)
    job = filing.file(home, "export", {"scene": "shapes", "out": str(folder / "out")})
    ports: dict[str, Any] = {"LEPTON_LEARNER_METRICS_PORT": str(port), "LEPTON_TRAINER_METRICS_PORT": str(other)}
    with house(folder / "home", **ports, **DRIFT) as running, closing(home):
        running.start_service()
        running.start_learner()
        running.start_trainer()
        pages = [running.url, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}"]
        until(lambda: all(answers(url) for url in pages), 30)
        with prometheus(folder / "prometheus", {3000: running.port, 3001: port, 3002: other}) as server:
            until(lambda: home.jobs.find(job.id).state == "done", 30)
            until(lambda: server.number('sum(lepton_learner_leader) + sum(up{job="lepton-service"})') == 2, 30)
            answered = work(running)
            until(lambda: server.number("sum(lepton_label_to_served_seconds_count)") == 2 * LABELS, 30)
            until(lambda: server.number("max(lepton_standing_examples)") == 3 * 6 + LABELS, 30)
            yield Watched(server, tuple(f"{page}/metrics" for page in pages), answered)


def answers(url: str, path: str = "/metrics") -> bool:
    try:
        return httpx.get(url + path, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def work(running: House) -> Counter[str]:
    """Predictions on both workers, labels on one of them, a promotion that is refused, and a page that is not there."""
    answered: Counter[str] = Counter()
    with ExitStack() as opened:
        workers: dict[str, httpx.Client] = {}
        while len(workers) < 2 or min(answered.values()) < 5:
            client = opened.enter_context(httpx.Client(base_url=running.url, trust_env=False, timeout=30))
            answer = client.post(PREDICT, content=pico.picture("circle", answered.total()), headers=PNG)
            assert answer.status_code == 200
            workers.setdefault(answer.headers["Lepton-Worker"], client)
            answered[answer.headers["Lepton-Worker"]] += 1
        for number in range(TRAFFIC):
            assert workers["1"].post(PREDICT, content=pico.picture("circle", number), headers=PNG).status_code == 200
        for number in range(LABELS):
            picture = pico.picture("square", 100 + number)
            assert workers["1"].post(PREDICT, content=picture, headers=PNG).status_code == 200
            body = {"scene": "shapes", "instance": instance(picture), "label": "square"}
            assert workers["1"].post("/v1/feedback", json=body).json()["status"] == "accepted"
        answered["1"] += TRAFFIC + LABELS
        asked = {"version": "0" * 64, "expected_generation": 9}
        assert workers["2"].put("/v1/scenes/shapes/champion", json=asked).status_code in {404, 409}
        assert workers["2"].get("/nowhere").status_code == 404
    return answered


def test_all_processes_are_up_and_scraped_without_an_error(watched: Watched) -> None:
    targets = watched.server.targets()
    assert set(targets) == {"lepton-service", "lepton-learner", "lepton-trainer"}
    for target in targets.values():
        assert (target["health"], target["lastError"]) == ("up", "")
    assert watched.server.number('min(min_over_time(up{job=~"lepton-.*"}[10m]))') == 1
    assert watched.server.number("min(scrape_samples_scraped)") > 20
    complaints = [line for line in watched.server.log.read_text().splitlines() if re.search("level=(warn|error)", line)]
    assert complaints == []


def test_what_each_worker_counted_is_summed(watched: Watched) -> None:
    assert set(watched.answered) == {"1", "2"} and min(watched.answered.values()) >= 5
    answered = watched.answered.total()
    becomes(watched, 'lepton_predictions_total{scene="shapes", outcome="answered"}', answered)
    becomes(watched, 'sum(lepton_requests_total{route="/v1/scenes/{scene}/predict", status="200"})', answered)
    becomes(watched, 'lepton_request_seconds_count{route="/v1/scenes/{scene}/predict"}', answered)
    becomes(watched, 'lepton_labels_total{scene="shapes", status="accepted"}', LABELS)
    becomes(watched, 'lepton_requests_total{route="other", status="404"}', 1)


def becomes(watched: Watched, expression: str, value: float) -> None:
    """The expression has that one value, at the latest after a few scrapes."""
    until(lambda: watched.server.number(expression) == value, 10)


def test_a_label_can_be_followed_from_the_request_to_the_answers_that_include_it(watched: Watched) -> None:
    number = watched.server.number
    becomes(watched, 'lepton_label_to_served_seconds_count{scene="shapes"}', 2 * LABELS)  # once a worker
    assert number('histogram_quantile(0.99, sum by (le) (lepton_label_to_served_seconds_bucket{scene="shapes"}))') > 0
    published = number('lepton_head_revision{job="lepton-learner", scene="shapes"}')
    assert published >= 1
    becomes(watched, 'lepton_head_revision{job="lepton-service", scene="shapes"}', published)
    assert 1 <= number('lepton_solve_seconds_count{scene="shapes"}') <= LABELS
    assert number('count(lepton_model_info{scene="shapes"} == 1)') == 1


def test_a_first_event_is_seen_as_a_step_from_zero(watched: Watched) -> None:
    assert watched.server.number('increase(lepton_labels_total{scene="shapes", status="accepted"}[5m])') > 0
    assert watched.server.number('lepton_promotions_total{scene="shapes", decision="promoted"}') == 0
    assert watched.server.number('lepton_learner_failures_total{scene="shapes"}') == 0


@pytest.mark.parametrize("expression", expressions())
def test_a_panel_of_the_dashboard_shows_something(watched: Watched, expression: str) -> None:
    until(lambda: watched.server.query(expression), 10)


def test_every_metric_that_rules_and_dashboard_name_is_scraped(watched: Watched) -> None:
    named = set(NAME.findall("\n".join([*rules(), *expressions()])))
    assert len(named) > 20
    assert named - watched.server.names() == set()


def test_no_alert_fires_on_a_healthy_house(watched: Watched) -> None:
    groups = watched.server.get("/api/v1/rules").json()["data"]["groups"]
    told = {rule["name"]: (rule["health"], rule["state"]) for group in groups for rule in group["rules"]}
    assert len(told) == sum("alert:" in line for line in rules())
    assert {name for name, (health, _) in told.items() if health == "err"} == set()
    assert {name for name, (_, state) in told.items() if state == "firing"} == set()


def test_all_pages_of_metrics_are_as_prometheus_advises(watched: Watched) -> None:
    for page in watched.pages:
        answer = promtool("check", "metrics", given=httpx.get(page, trust_env=False).text)
        assert (answer.returncode, answer.stdout + answer.stderr) == (0, "")


def test_the_shipped_configuration_and_rules_are_valid() -> None:
    answer = promtool("check", "config", "prometheus.yaml")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "1 rule files found" in answer.stdout


def test_every_alert_fires_when_it_should_and_only_then() -> None:
    answer = promtool("test", "rules", "alerts_test.yaml")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_lepton_up_shows_a_console_and_a_learner_started_again_is_not_on_the_services_page(tmp_path: Path) -> None:
    home = home_at(tmp_path / "home")
    pico.register(home)
    home.close()
    port, service, shown = free_port(), free_port(), free_port()
    page = f"http://127.0.0.1:{service}"
    ports = {"LEPTON_LEARNER_METRICS_PORT": str(port), "LEPTON_CONSOLE_PORT": str(shown)}
    variables = environment(tmp_path / "home", **ports)
    running = Running(lepton("up", "--port", str(service)), variables, tmp_path / "up.log")
    try:
        until(lambda: answers(page) and answers(f"http://127.0.0.1:{port}"), 60)
        (learner,) = learners(running)
        learner.kill()
        until(lambda: [process for process in learners(running) if process != learner], 30)
        until(lambda: answers(f"http://127.0.0.1:{port}"), 60)
        until(lambda: answers(f"http://127.0.0.1:{shown}", "/"), 60)
        assert f"console on http://127.0.0.1:{shown}" in running.told()
        assert "shapes" in httpx.get(f"http://127.0.0.1:{shown}/", trust_env=False).text
        assert "lepton_learner" not in httpx.get(f"{page}/metrics", trust_env=False).text
        assert list((tmp_path / "home" / "bentoml").rglob("gauge_all_*.db")) == []
    finally:
        running.stop()


def learners(running: Running) -> list[psutil.Process]:
    """The learner's process, where it lives."""
    return [process for process in running.family() if _is_learner(process)]


def _is_learner(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[-1:] == ["learner"]
    except psutil.Error:  # it has just ended
        return False
