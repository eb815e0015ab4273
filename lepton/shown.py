"""Results that have a shape of their own, as tables and as JSON: methods of transfer, inputs gone wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lepton.output import fact, table

if TYPE_CHECKING:
    from training.robustness import Hurt
    from training.unlabelled import Decision


def transfer_json(decision: Decision | None) -> dict[str, Any] | None:
    """What inputs without labels brought, as JSON values; None where there were none."""
    if decision is None:
        return None
    told = {"method": decision.method, "criterion": decision.criterion, "inputs": decision.inputs}
    return told | {"trials": [asdict(trial) for trial in decision.trials]}


def show_transfer(decision: Decision) -> None:
    """A row for each method."""

    rows = [
        [
            trial.name,
            "" if trial.score is None else f"{100 * trial.score:.1f} %",
            ""
            if trial.score is None
            else f"{100 * trial.gain:+.1f} ({100 * trial.low:+.1f} to {100 * trial.high:+.1f})",
            f"{trial.seconds:.0f}",
            "yes" if trial.name == decision.method else "",
            trial.reason,
        ]
        for trial in decision.trials
    ]
    title = f"{decision.inputs} inputs without labels, by {decision.criterion}"
    table(title, ["method", "score", "points gained (95 %)", "seconds", "taken", "why not"], rows)


def damage_json(hurt: Hurt) -> dict[str, Any]:
    """One cell of the robustness table, as JSON values."""
    told = {"score": hurt.score.model_dump(), "change": hurt.change.model_dump()}
    return {"kind": hurt.kind, "severity": hurt.severity} | told


def show_damage(damage: Sequence[Hurt]) -> None:
    """A row for each kind, a column for each severity, and the mean of all."""
    told = {(d.kind, d.severity): f"{100 * d.score.value:.1f} ({100 * d.change.value:+.1f})" for d in damage}
    severities, kinds = sorted({d.severity for d in damage}), dict.fromkeys(d.kind for d in damage)
    title = "Inputs gone wrong, by severity: balanced accuracy (R²) in % (points against whole inputs)"
    table(title, ["damage", *map(str, severities)], [[kind, *(told[kind, s] for s in severities)] for kind in kinds])
    fact(mean_over_all_damage=f"{100 * sum(d.score.value for d in damage) / len(damage):.1f} %")
