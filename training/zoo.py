"""The zoo: every backbone that the plugins of training.backbone offer, and how a name finds its plugin.

A name is ``PLUGIN:REST`` (``timm:resnet18``, ``onnx_file:/path/model.onnx``) or, for the packaged weights, the bare
name (``efficientnet_lite0``). Promises to list without importing torch. Knows nothing of how a plugin loads.

A plugin is a file of training/backbone with three functions: ``names() -> tuple[Row, ...]``, what it knows of by name;
``load(name, setting) -> Backbone``; and ``examples(folder) -> tuple[tuple[str, Setting], ...]``, arguments of ``load``
that give small real backbones, by which the laws test it (files that they need are written to ``folder``). A plugin of
models that see and read offers ``load`` for the half that sees and ``reader(name) -> Backbone`` for the other; one that
adds features to backbones of others offers ``plain(name) -> str``, the name of the other, and ``first(name) -> bool``,
whether the one with more features is taken where the two cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from core import plugins
from core.errors import InvalidInput

if TYPE_CHECKING:
    from exporters.backbone import Backbone

_PACKAGE = "training.backbone"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One backbone in the list, known without loading it.

    Attributes:
        dimension: width of its features. parameters: how many. source: where the weights come from.
        offline: whether it can be loaded on this machine without a network.
    """

    name: str
    modality: str
    dimension: int
    parameters: int
    licence: str
    source: str
    offline: bool


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the data decided about a backbone.

    Attributes:
        size: side of the pictures in pixels, for those that take pictures.
        files: what was fitted on the training rows, by file name, such as a table's schema.
    """

    size: int | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def side(self) -> int:
        """The size, which a backbone of pictures cannot do without.

        Raises:
            InvalidInput: there is none, because the data are no pictures.
        """
        if self.size is None:
            raise InvalidInput(
                "a backbone of pictures was named, and the data are none",
                "choose one of lepton backbones --modality text (or audio, tabular), or give --size",
            )
        return self.size


def available(modality: str | None = None) -> tuple[Row, ...]:
    """Rows of all plugins, those that load offline first, then by size and features; of one modality where given."""
    found = [row for plugin in plugins.names(_PACKAGE) for row in plugins.load(_PACKAGE, plugin).names()]
    fitting = [row for row in found if modality in (None, row.modality)]
    return tuple(sorted(fitting, key=lambda row: (not row.offline, row.parameters, row.dimension, row.name)))


def resolve(name: str) -> tuple[str, str]:
    """The plugin of ``name`` and the name that the plugin knows it by.

    Raises:
        LookupError: no plugin offers it; the message lists the choices.

    >>> resolve("timm:resnet18")
    ('timm', 'resnet18')
    >>> resolve("efficientnet_lite0")
    ('packaged', 'efficientnet_lite0')
    """
    known = plugins.names(_PACKAGE)
    plugin, colon, rest = name.partition(":")
    if colon and plugin in known and rest:
        return plugin, rest
    for candidate in known:
        if any(row.name == name for row in plugins.load(_PACKAGE, candidate).names()):
            return candidate, name
    choices = [row.name for row in available()] + [f"{candidate}:NAME" for candidate in known]
    raise LookupError(f"no backbone is named {name!r}; choose one of: {', '.join(choices)}")


def load(name: str, setting: Setting) -> Backbone:
    """The backbone as the data want it (an ONNX file of fixed picture size keeps its own).

    Raises:
        LookupError: unknown name; LeptonError: its weights are not here, or do not fit.
    """
    plugin, rest = resolve(name)
    return replace(cast("Backbone", plugins.load(_PACKAGE, plugin).load(rest, setting)), zoo_name=name)


def reader(name: str) -> Backbone:
    """The half of a backbone of pictures that reads texts, into the space of what the other half sees.

    Raises:
        InvalidInput: it has none; LookupError, LeptonError: as ``load``.
    """
    if not reads(name):
        raise InvalidInput(
            f"{name} does not both see and read, so it knows nothing of what pictures are called",
            "choose a backbone that does (transformers_clip:FOLDER, or a name of the hub)",
        )
    plugin, rest = resolve(name)
    return cast("Backbone", plugins.load(_PACKAGE, plugin).reader(rest))


def reads(name: str) -> bool:
    """Whether a backbone of pictures has a half that reads. Raises LookupError where the name is unknown."""
    return hasattr(plugins.load(_PACKAGE, resolve(name)[0]), "reader")


def plain(name: str) -> str | None:
    """The backbone that this one only adds features to; None where it is one by itself, or unknown.

    >>> plain("layers:timm:resnet18"), plain("efficientnet_lite0")
    ('timm:resnet18', None)
    """
    try:
        plugin, rest = resolve(name)
    except LookupError:
        return None
    module = plugins.load(_PACKAGE, plugin)
    return cast("str", module.plain(rest)) if hasattr(module, "plain") else None


def yields(name: str, other: str, rows: int) -> bool:
    """Whether a backbone is taken beside another one only where it is told from it: one of them has the features of the
    other and more, and of so many labelled rows the other one goes first.

    >>> yields("layers:timm:resnet18", "timm:resnet18", 100), yields("timm:resnet18", "layers:timm:resnet18", 100)
    (True, False)
    >>> yields("layers:timm:resnet18", "timm:resnet18", 500), yields("timm:resnet18", "layers:timm:resnet18", 500)
    (False, True)
    >>> yields("layers:minilm", "minilm", 8), yields("minilm", "layers:minilm", 8), yields("minilm", "wordllama", 8)
    (False, True, False)
    """
    if plain(name) == other:
        return rows < _first(name)
    return plain(other) == name and rows >= _first(other)


def _first(name: str) -> int:
    plugin, rest = resolve(name)
    return cast("int", plugins.load(_PACKAGE, plugin).first(rest))
