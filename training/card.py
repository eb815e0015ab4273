"""The model card: what a version is, what it was measured to do, and what nobody measured.

After Mitchell et al., "Model cards for model reporting" (arXiv 1810.03993). Knows only the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping

from core import plugins
from core.bundle import Manifest, Metric, Tuning
from core.look.html import shown

METHODS = "training.transfer"


def render(manifest: Manifest) -> str:
    """The card as Markdown; names that came with the data are quoted as code."""
    members = "\n".join(
        f"| {m.name} | {m.source} | {m.licence} | {m.parameters:,} | {m.dimension} | {'yes' if m.tuned else 'no'} |"
        for m in manifest.members
    )
    inputs = ", ".join(f"`{name}` {i.dtype} {list(i.shape)}" for name, i in manifest.inputs.items())
    asked = " and ".join(dict.fromkeys([manifest.task, *(task.task for task in manifest.further)]))
    return f"""# {manifest.scene}: a {asked} model of the modality {manifest.modality}

{_labels(manifest)}

| backbone | source | licence | parameters | features | tuned on the scene |
|---|---|---|---|---|---|
{members}

Recipe `{manifest.recipe}`, feature transform `{manifest.transform}`, λ {manifest.lam:g}, temperature
{manifest.temperature:.4g}{_solved(manifest)}, precision {manifest.precision}, opset {manifest.opset}. Input: {inputs}.

## Measured when it was made

{_metrics(manifest)}

{_tuned(manifest)}{_fused(manifest)}{_renewed(manifest)}## To know before use

The figures hold for inputs like those of the data with digest `{manifest.lineage.data_digest[:16]}`. Nobody has
measured the model on other scenes, on attacks, or on groups of people. The head stored here includes labels up to
event {manifest.lineage.sequence}; what a service answers with may include later ones. The backbone's licence applies
to the weights inside.{_lowered(manifest)}{_transferred(manifest)}
"""


def _tuned(manifest: Manifest) -> str:
    """How weights were moved, and what that gained on rows that no weight was tuned on."""
    return "".join(_tuning(member.name, member.tuning) for member in manifest.members if member.tuning is not None)


def _tuning(name: str, how: Tuning) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in sorted(how.settings.items()))
    return f"""## {name} tuned by `{how.recipe}`

From the weights `{how.base[:16]}`, seed {how.seed}; the weights of epoch {how.best} of {how.epochs}, {how.stopped}
({how.seconds:.0f} s). Settings: {_plain(settings)}.

On {how.rows} validation rows the closed form scores {how.floor:.4f} on the untouched features and {how.score:.4f} on
the tuned ones; the head that was trained along scores {how.trained:.4f} and is not used. These rows chose the epoch,
which flatters the tuned figure by a little; the backbone has seen the training rows, so leave-one-out figures are of
these rows alone. The weights hold what they learned of the people in the data: erasing one names this version.

"""


def _renewed(manifest: Manifest) -> str:
    """By which cycle it was made, and who let it pass."""
    told = manifest.lineage
    if not told.decision:
        return ""
    return f"""## Made by a cycle of retraining

In the place of version {str(told.parent)[:12]}, from the weights of the {told.start}, seed {told.seed}. The labels
after event {told.since}, up to event {told.upto}, were new to it. Decision {told.decision} of the gate let it pass; the
figures above are of the examples that judged it, which no weight was tuned on and no judged head has seen.

"""


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("`", "'").replace("|", "/").replace("<", "‹")


def _fused(manifest: Manifest) -> str:
    """How it was fused, and what each member is worth."""
    fusion = manifest.fusion
    if fusion is None:
        return ""
    members = "\n".join(
        f"| {m.name} | {m.alpha:.4g} | {_figure(m.alone)} | {_figure(m.without)} |" for m in fusion.members
    )
    return f"""## Fused by `{fusion.method}`

| member | share α | alone | the others without it |
|---|---|---|---|
{members}

All together {fusion.score:.4f} ({fusion.metric}, {fusion.rows} rows); the best member alone {fusion.best:.4f}, which is
{fusion.score - fusion.best:+.4f} ({fusion.low:+.4f} to {fusion.high:+.4f}).

"""


def _figure(score: float | None) -> str:
    return "" if score is None else f"{score:.4f}"


def _labels(manifest: Manifest) -> str:
    told = "Labels at the time of making: "
    lists = {manifest.task_name: manifest.labels} | {task.name: task.labels for task in manifest.further}
    return "\n\n".join(
        f"{f'Task `{name}`. ' if name else ''}{told}{', '.join(_code(label) for label in labels)}"
        for name, labels in lists.items()
    )


def _solved(manifest: Manifest) -> str:
    """λ and temperature of the tasks beside the first."""
    return "".join(f" (`{t.name}`: λ {t.lam:g}, temperature {t.temperature:.4g})" for t in manifest.further)


def _metrics(manifest: Manifest) -> str:
    measured = {manifest.task_name: manifest.metrics} | {task.name: task.metrics for task in manifest.further}
    return "\n\n".join((f"### Task `{name}`\n\n" if name else "") + _table(each) for name, each in measured.items())


def _table(metrics: Mapping[str, Metric]) -> str:
    lines = "\n".join(
        f"| {name.replace('_', ' ')} | {m.value:.4f} | {m.low:.4f} to {m.high:.4f} | {m.rows} |"
        for name, m in sorted(metrics.items())
    )
    return f"| metric | value | 95 % interval | rows |\n|---|---|---|---|\n{lines}"


def _lowered(manifest: Manifest) -> str:
    if manifest.precision == "fp32":
        return ""
    return f"""

The backbone computes in {manifest.precision}; it was made of version {str(manifest.lineage.parent)[:12]}, beside which
agreement, changes and shares above were measured on one processor. Its features are its own: they pair with those of no
other version. Transform, grid and head are float32."""


def _transferred(manifest: Manifest) -> str:
    if manifest.recipe not in plugins.names(METHODS):
        return ""
    return f"""

Labels come from one scene, and this model is for another, of which there were inputs without labels:
`{manifest.recipe}` fitted the extractor to them. Figures named source were measured on the scene of the labels, by the
extractor of that scene. Nothing says how well the model does on the other one but figures named target."""


def _code(label: str) -> str:
    plain = shown(" ".join(label.split())).replace("`", "'").replace("|", "/")
    return f"`{plain[:80]}`"
