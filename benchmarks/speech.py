"""Spoken words and voices, as folders of class folders under ``.bench/``; nothing is committed.

Promises the same files at every call, made once. Needs ``apt-get``, ``dpkg`` and, for the words, ``espeak-ng``
(``apt-get install espeak-ng``, GPL-3). Knows nothing of models.

* words: ten commands spoken by 40 variants of espeak-ng's English voice; a file's name is its voice. Synthetic: all
  voices are one synthesiser's, and clean.
* voices: prompts of a telephone system, Debian ``asterisk-core-sounds-*-wav`` (CC-BY-SA-3.0), a class for each of four
  packages. Real speech, but one language and one studio a class (English and Spanish by the same speaker), so that a
  class can also be told by language, by channel and by what is said.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from benchmarks.debian import BENCH, once, unpack
from core.errors import BadConfiguration

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
VOICES = 40
PROMPTS = 120  # of a package, spread over its files
LANGUAGES = ("en", "es", "fr", "ru")

_SHORTEST, _LONGEST = 12_000, 160_000  # bytes of a prompt: 0.75 to 10 seconds of 8 kHz, 16 bits
_SLOWEST, _STEPS = 140, 60  # words a minute; so many speeds above it are used in turn


def words(bench: Path = BENCH) -> Path:
    """Ten words by forty voices."""
    return once(bench / "scenes" / "words", _speak)


def voices(bench: Path = BENCH) -> Path:
    """Up to 120 prompts of each of four packages."""

    def make(out: Path) -> None:
        for language in LANGUAGES:
            package = f"asterisk-core-sounds-{language}-wav"
            root = once(bench / "debian" / package, lambda into, name=package: unpack(name, into))  # type: ignore[misc]
            found = sorted(file for file in root.rglob("*.wav") if _SHORTEST <= file.stat().st_size <= _LONGEST)
            spoken = [file for file in found if file.parent.name != "silence"]
            (out / language).mkdir()
            for file in spoken[:: max(1, len(spoken) // PROMPTS)][:PROMPTS]:
                shutil.copyfile(file, out / language / f"{file.parent.name}-{file.name}")

    return once(bench / "scenes" / "voices", make)


def _speak(out: Path) -> None:
    if not shutil.which("espeak-ng"):
        raise BadConfiguration("espeak-ng is not installed", "apt-get install espeak-ng")
    told = subprocess.run(("espeak-ng", "--voices=variant"), capture_output=True, text=True, check=True).stdout
    names = sorted({line.split("!v/")[1].strip() for line in told.splitlines() if "!v/" in line})
    kept = [name for name in names if " " not in name][:VOICES]
    for word in WORDS:
        (out / word).mkdir()
        for number, name in enumerate(kept):
            speed = _SLOWEST + (37 * number + 11 * WORDS.index(word)) % _STEPS
            file = out / word / f"{name}.wav"
            subprocess.run(("espeak-ng", "-v", f"en-us+{name}", "-s", str(speed), "-w", str(file), word), check=True)
