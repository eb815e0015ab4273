"""What can go wrong for a user, each error with its remedy.

Promises that every error a person can cause says what was wrong, with which value, what was expected and what to do.
Knows nothing of HTTP or of the terminal: the service maps ``status`` to a response, the command line to exit code 1.
"""

from __future__ import annotations


class LeptonError(Exception):
    """Base of all errors meant for people.

    ``code`` is a stable machine-readable word, ``status`` the HTTP status that fits it best.
    """

    code = "failed"
    status = 500

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})"


class InvalidInput(LeptonError):
    """A value that a person gave cannot be used: bad picture, bad field, unknown label."""

    code = "invalid_input"
    status = 422


class MalformedRequest(LeptonError):
    """A request that cannot be read at all: not JSON, a wrong shape."""

    code = "malformed_request"
    status = 400


class TooLarge(LeptonError):
    """More bytes, pixels or instances than the configured cap."""

    code = "too_large"
    status = 413


class UnsupportedMedia(LeptonError):
    """Bytes that are not of an accepted format, whatever their name or content type says."""

    code = "unsupported_media"
    status = 415


class NotFound(LeptonError):
    """A scene, version, event, subject or file that does not exist."""

    code = "not_found"
    status = 404


class Conflict(LeptonError):
    """The state has moved on, or contradicts the request."""

    code = "conflict"
    status = 409


class Overtaken(Conflict):
    """Something happened meanwhile that long work did not know of; begun again, it does."""

    code = "overtaken"


class Withdrawn(Conflict):
    """The label event was withdrawn and can be neither corrected nor sent again."""

    code = "withdrawn"


class Cancelled(Conflict):
    """The job was cancelled, and may write no more."""

    code = "cancelled"


class Unavailable(LeptonError):
    """The thing exists, but cannot be used just now."""

    code = "unavailable"
    status = 503


class DeviceLost(Unavailable):
    """The GPU is lost to this process, which cannot answer until it is started again."""

    code = "device_lost"


class BrokenBundle(LeptonError):
    """A bundle on disk whose digest, shape or content is not what its manifest says."""

    code = "broken_bundle"


class ParityFailed(LeptonError):
    """The exported graph does not compute what the original model computes."""

    code = "parity_failed"


class BadConfiguration(LeptonError):
    """A setting, or the environment around the program, is wrong."""

    code = "bad_configuration"


class CapacityReached(LeptonError):
    """More labels stand than can be summed exactly."""

    code = "capacity_reached"


class LeadershipLost(LeptonError):
    """Another process holds the lease with a newer fencing token."""

    code = "leadership_lost"
