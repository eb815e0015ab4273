"""Near copies of sounds: coded again they are found, and other sounds are not taken for them."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import resample_poly

from core.preprocess import Limits
from tests import sounds
from training.modality import audio

COUNT = 12
WAVES = [sounds.samples(number, 0.6 + 0.05 * number) for number in range(COUNT)]

Change = Callable[[np.ndarray], bytes]
CHANGES: dict[str, Change] = {
    "of 8 bits": lambda wave: sounds.encoded(wave, coding="ULAW"),
    "for a telephone": lambda wave: sounds.encoded(resample_poly(wave, 1, 2), rate=8_000, coding="ULAW"),
    "half as loud": lambda wave: sounds.encoded(wave / 2),
    "between silences": lambda wave: sounds.encoded(np.concatenate([np.zeros(5_000), wave, np.zeros(3_000)])),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_copy_that_was_coded_again_is_found_beside_its_original(change: Change) -> None:
    contents = [sounds.encoded(wave) for wave in WAVES] + [change(wave) for wave in WAVES]
    found = set(audio.near([audio.look(data, Limits()) for data in contents]))
    wanted = {(number, number + COUNT) for number in range(COUNT)}
    assert found <= wanted
    assert len(found) >= COUNT - 1


def test_silence_clicks_and_lone_sounds_have_no_near_copies() -> None:
    click = np.zeros(8_000)
    click[4_000] = 1.0
    contents = [sounds.encoded(wave) for wave in (np.zeros(8_000), np.zeros(9_000), click, -click, WAVES[0])]
    assert audio.near([audio.look(data, Limits()) for data in contents]) == []
    assert audio.near([]) == []


def test_pairs_are_the_same_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [audio.look(sounds.encoded(wave), Limits()) for wave in (*WAVES[:4], *WAVES[:4], WAVES[0])]
    whole = audio.near(looks)
    assert (0, 4) in whole and (4, 8) in whole and all(i < j for i, j in whole)
    monkeypatch.setattr(audio, "_BLOCK", 3)
    assert sorted(audio.near(looks)) == sorted(whole)
