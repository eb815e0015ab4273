"""Settings of the console.

Promises that a value out of its range is refused by name. Knows nothing of pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from core.errors import BadConfiguration
from core.ranges import not_negative, positive


@dataclass(frozen=True, kw_only=True)
class ConsoleSettings:
    """Where the console listens, and what it takes."""

    host: str = "127.0.0.1"
    """Address to listen on. The console has no log-in: whoever reaches it may do what it can."""
    port: int = 3003
    """TCP port; 0: ``lepton up`` starts no console."""
    names: str = ""
    """Names of hosts by which browsers may ask for it beside ``host``, such as ``console.example.org``, with commas
    between; those of this machine itself, such as ``localhost``, always may."""
    service: str = ""
    """Where the service answers, such as ``http://10.0.0.5:3000``; what ``[serve]`` says, on this machine, if empty."""
    upload_megabytes: float = 4096.0
    """Largest upload, and largest size of what is packed in it."""
    upload_files: int = 200_000
    """Most files in one upload."""

    def __post_init__(self) -> None:
        """Check ranges."""
        positive(self, "console", "upload_megabytes", "upload_files")
        not_negative(self, "console", "port")
        if self.service and (
            urlsplit(self.service).scheme not in {"http", "https"} or not urlsplit(self.service).netloc
        ):
            raise BadConfiguration(
                f"console.service is {self.service!r}", "give an address, such as http://10.0.0.5:3000"
            )
