"""What the console asks of trainers: requests that their kinds take, filed as jobs.

The trainer checks every request again when it begins; a test holds that it takes what is filed here. Promises that a
scene's name and a path are checked before. Knows nothing of what the kinds do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import InvalidInput, NotFound
from core.home import Home
from core.ids import check_scene
from core.jobs import Job

RECIPES = {
    "auto": "Auto: what the evidence says, within the budget",
    "closed_form": "Closed form: done in seconds",
    "finetune": "Fine-tuning",
    "lora": "Low-rank adapters",
    "gradual": "Gradual unfreezing",
    "search": "Search: all of the budget",
}
LONGEST = 24 * 60.0  # minutes


def inspect(home: Home, scene: str, data: Path, label: str) -> Job:
    """Ask for a look at data.

    Raises:
        InvalidInput: the scene's name cannot be used, or the path is relative. NotFound: there is no such path.
    """
    check_scene(scene)
    request: dict[str, Any] = {"scene": scene, "data": str(there(data))}
    if label.strip():
        request["label"] = _columns(label)
    return _file(home, "inspect", scene, request)


def adapt(home: Home, looked: Job, *, recipe: str, minutes: str, backbone: str, new_labels: bool, seed: int = 0) -> Job:
    """Ask for a model of data that were looked at.

    Raises:
        InvalidInput: no such recipe, or a budget that is none. NotFound: the data are gone.
    """
    if recipe not in RECIPES:
        raise InvalidInput(f"there is no recipe {recipe[:40]!r}", f"choose one of: {', '.join(RECIPES)}")
    try:
        budget = float(minutes) * 60
    except ValueError:
        budget = 0.0
    if not 0 < budget <= LONGEST * 60:
        raise InvalidInput(f"{minutes[:20]!r} is no budget", f"give minutes, up to {LONGEST:.0f}")
    request = {
        name: looked.request[name] for name in ("scene", "data", "label", "modality") if looked.request.get(name)
    }
    there(Path(request["data"]))
    request |= {"recipe": recipe, "budget": budget, "new_labels": "accept" if new_labels else "reject", "seed": seed}
    if backbone != "auto":
        request["backbones"] = [backbone]
    return _file(home, "adapt", looked.scene, request)


def source(home: Home, job: Job) -> str:
    """Where the data of a request lie, in words: of uploads the place under the home means nothing to people."""
    data = Path(str(job.request.get("data") or ""))
    if data.is_relative_to(home.settings.home / "uploads"):
        return f"uploaded data ({data.name})" if data.name != data.parent.name else "uploaded data"
    return str(data)


def there(data: Path) -> Path:
    """A path that is there.

    Raises:
        InvalidInput: it is relative. NotFound: it is not there.
    """
    found = data.expanduser()
    if not found.is_absolute():
        raise InvalidInput(f"the path {str(data)[:200]!r} is relative", "name it from the root, such as /data/films")
    if not found.exists():
        raise NotFound(f"there is no {str(found)[:200]!r} on this machine", "check the path, or upload the data")
    return found


def _columns(label: str) -> str | list[str]:
    names = [name.strip() for name in label.split(",") if name.strip()]
    return names[0] if len(names) == 1 else names


def _file(home: Home, kind: str, scene: str, request: Mapping[str, Any]) -> Job:
    return home.jobs.file(kind, scene, request, most_attempts=home.settings.trainer.attempts)
