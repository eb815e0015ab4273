"""What bodies of requests may say, checked by pydantic; unknown fields are refused by name.

Knows nothing of what is done with them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import InvalidInput, LeptonError, MalformedRequest
from core.events import TRAINING
from core.ids import check_identifier
from service.api.body import parse as read
from service.api.errors import explain

M = TypeVar("M", bound=BaseModel)


class Body(BaseModel):
    """A body: numbers are finite, fields are known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


def _identifier(value: str) -> str:
    try:
        return check_identifier("it", value)
    except InvalidInput as error:
        raise ValueError(str(error)) from None


def _open_name(value: str) -> str:
    if _identifier(value) == TRAINING:
        raise ValueError(f"{TRAINING!r} is reserved for the data that versions were adapted on; choose another word")
    return value


def _moment(value: str) -> str:
    try:
        datetime.fromisoformat(value if value.isprintable() else "")
    except ValueError:
        raise ValueError(f"{value[:40]!r} is no ISO 8601 time; send one such as 2026-11-03T09:30:00Z") from None
    return value


Identifier = Annotated[str, AfterValidator(_identifier)]
OpenName = Annotated[str, AfterValidator(_open_name)]
Moment = Annotated[str, Field(max_length=64), AfterValidator(_moment)]
Confidence = Annotated[float, Field(gt=0, le=1, strict=False)]
Number = Annotated[float, Field(strict=False)]


_FILE: dict[str, Any] = {
    "type": "object",
    "properties": {"b64": {"type": "string", "description": "The file in base64."}},
    "required": ["b64"],
    "additionalProperties": False,
}
# Instances are checked one by one, later; this is what the page of the API shows of them.
INSTANCE: dict[str, Any] = {
    "type": "object",
    "description": "One input: the field of the scene's modality, or, of a mixture, those of its parts.",
    "properties": {
        "image": _FILE | {"description": "JPEG, PNG or WebP."},
        "audio": _FILE | {"description": "WAV or FLAC."},
        "text": {"type": "string"},
        "features": {
            "type": "object",
            "description": "Columns of a row; what is missing or null counts as missing.",
            "additionalProperties": {"type": ["number", "string", "boolean", "null"]},
        },
    },
    "minProperties": 1,
    "additionalProperties": False,
}


_TASK: dict[str, Any] = {
    "label": {"type": "string"},
    "confidence": {"type": "number", "description": "Probability of the label."},
    "probabilities": {"type": "object", "additionalProperties": {"type": "number"}, "description": "Best first."},
    "value": {"type": "number", "description": "Of a regression, in place of the three above."},
}
ANSWER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "scene": {"type": "string"},
        "version": {"type": "string"},
        "revision": {"type": "integer"},
        "sequence": {"type": "integer", "description": "The last label event that the answers include."},
        "predictions": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "prediction_id": {"type": "string", "description": "Send it to /v1/feedback with a label."},
                    **_TASK,
                    "tasks": {
                        "type": "object",
                        "description": "Of a scene with several tasks: every task's answer by its name; the fields "
                        "beside it are those of the first.",
                        "additionalProperties": {
                            "type": "object",
                            "properties": _TASK | {"fallback": {"type": "boolean", "description": "Nothing stands."}},
                        },
                    },
                },
            },
        },
    },
}


class PredictIn(Body):
    """Instances to answer; each is checked by itself, so that a bad one spoils no other."""

    instances: list[Any] = Field(min_length=1, json_schema_extra={"items": INSTANCE})
    top_k: int | None = Field(None, ge=1, description="How many probabilities to answer, best first; all if absent.")
    key: str | None = Field(
        None, max_length=200, description="Who asks: while two versions share the traffic, a key stays with one."
    )


class LabelIn(Body):
    """What is said: a label, or a value where the scene is a regression."""

    label: str | None = None
    value: Number | None = None

    @model_validator(mode="after")
    def _one(self) -> LabelIn:
        if (self.label is None) == (self.value is None):
            raise ValueError("send either a label or a value")
        return self


class FeedbackIn(LabelIn):
    """A label for a prediction (by its id), or for an instance that is sent along."""

    prediction_id: str | None = None
    scene: str | None = None
    task: str | None = Field(None, description="Of several tasks of the scene, which one; the first if absent.")
    instance: Any = Field(None, json_schema_extra=INSTANCE)
    event_id: Identifier | None = None
    annotator: OpenName | None = None
    source: OpenName = "feedback"
    confidence: Confidence = 1.0
    observed_at: Moment | None = None
    subject: Identifier | None = None

    @model_validator(mode="after")
    def _placed(self) -> FeedbackIn:
        if self.prediction_id is None and (self.scene is None or self.instance is None):
            raise ValueError("send a prediction_id, or a scene and an instance")
        return self


class CorrectionIn(LabelIn):
    """What an event says from now on."""

    confidence: Confidence | None = None


class ChampionIn(Body):
    """Which version to promote, if the alias has not moved since ``expected_generation``."""

    version: str = Field(min_length=1, max_length=64)
    expected_generation: int = Field(ge=0)


class StateIn(Body):
    """``ready`` lifts a version's quarantine."""

    state: Literal["ready"]


def parse(model: type[M], body: bytes) -> M:
    """The body as ``model``.

    Raises:
        MalformedRequest: it is not JSON, or no object.
        InvalidInput: a field does not fit.
    """
    given = read(body)
    if not isinstance(given, dict):
        raise MalformedRequest(f"the body is a JSON {type(given).__name__}", "send one JSON object")
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _about(error) from None


def documented(model: type[BaseModel]) -> dict[str, Any]:
    """``openapi_extra`` of a route that reads its own body."""
    schema = _inlined(model.model_json_schema(), {})
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _about(error: ValidationError) -> LeptonError:
    whole = [fault for fault in error.errors() if fault["loc"] == ()]
    if whole:
        return InvalidInput(whole[0]["msg"].removeprefix("Value error, "), "/docs shows what is expected")
    return explain(error)


def _inlined(schema: Any, known: dict[str, Any]) -> Any:
    """A JSON schema with its ``$defs`` put where they are used; our models do not nest in themselves."""
    if isinstance(schema, list):
        return [_inlined(part, known) for part in schema]
    if not isinstance(schema, dict):
        return schema
    known = known | schema.get("$defs", {})
    if "$ref" in schema:
        return _inlined(known[schema["$ref"].rpartition("/")[2]], known)
    return {key: _inlined(part, known) for key, part in schema.items() if key != "$defs"}
