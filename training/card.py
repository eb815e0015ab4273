"""The model card: what a version is, what it was measured to do, and what nobody measured.

After Mitchell et al., "Model cards for model reporting" (arXiv 1810.03993). Knows only the manifest.
"""

from __future__ import annotations

from core.bundle import Manifest


def render(manifest: Manifest) -> str:
    """The card as Markdown; names that came with the data are quoted as code."""
    members = "\n".join(
        f"| {m.name} | {m.source} | {m.licence} | {m.parameters:,} | {m.dimension} | {'yes' if m.tuned else 'no'} |"
        for m in manifest.members
    )
    metrics = "\n".join(
        f"| {name.replace('_', ' ')} | {m.value:.4f} | {m.low:.4f} to {m.high:.4f} | {m.rows} |"
        for name, m in sorted(manifest.metrics.items())
    )
    labels = ", ".join(_code(label) for label in manifest.labels)
    inputs = ", ".join(f"`{name}` {i.dtype} {list(i.shape)}" for name, i in manifest.inputs.items())
    return f"""# {manifest.scene}: a {manifest.task} model of the modality {manifest.modality}

Labels at the time of making: {labels}

| backbone | source | licence | parameters | features | tuned on the scene |
|---|---|---|---|---|---|
{members}

Recipe `{manifest.recipe}`, feature transform `{manifest.transform}`, λ {manifest.lam:g}, temperature
{manifest.temperature:.4g}, precision {manifest.precision}, opset {manifest.opset}. Input: {inputs}.

## Measured when it was made

| metric | value | 95 % interval | rows |
|---|---|---|---|
{metrics}

{_tuned(manifest)}## To know before use

The figures hold for inputs like those of the data with digest `{manifest.lineage.data_digest[:16]}`. Nobody has
measured the model on other scenes, on attacks, or on groups of people. The head stored here includes labels up to
event {manifest.lineage.sequence}; what a service answers with may include later ones. The backbone's licence applies
to the weights inside.
"""


def _tuned(manifest: Manifest) -> str:
    """How weights were moved, and what that gained on rows that no weight was tuned on."""
    told = []
    for member in manifest.members:
        how = member.tuning
        if how is not None:
            settings = ", ".join(f"{name} {value}" for name, value in sorted(how.settings.items()))
            told.append(
                f"""## {member.name} tuned by `{how.recipe}`

From the weights `{how.base[:16]}`, seed {how.seed}; the weights of epoch {how.best} of {how.epochs}, {how.stopped}
({how.seconds:.0f} s). Settings: {_plain(settings)}.

On {how.rows} validation rows the closed form scores {how.floor:.4f} on the untouched features and {how.score:.4f} on
the tuned ones; the head that was trained along scores {how.trained:.4f} and is not used. These rows chose the epoch,
which flatters the tuned figure by a little; the backbone has seen the training rows, so leave-one-out figures are of
these rows alone. The weights hold what they learned of the people in the data: erasing one names this version.

"""
            )
    return "".join(told)


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("`", "'").replace("|", "/").replace("<", "‹")


def _code(label: str) -> str:
    plain = " ".join(label.split()).replace("`", "'").replace("|", "/")
    return f"`{plain[:80]}`"
