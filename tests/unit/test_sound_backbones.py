"""Backbones of sounds compute what their sources compute, and a sound's features are nobody else's business."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import get_window

from core.errors import BadConfiguration
from core.modality.audio import Windows, preprocessor
from core.preprocess import Limits
from core.session import Session
from core.types import Input
from exporters import sound
from exporters.backbone import Backbone, member
from exporters.compose import Member, compose
from tests import sounds
from training import zoo
from training.backbone import logmel, openwakeword, resemblyzer

WINDOWS = Windows()
NAMES = ("logmel", "openwakeword", "resemblyzer")


@pytest.fixture(scope="module")
def heard() -> NDArray[np.float32]:
    """(6, 3, S): sounds of one, two and three windows."""
    hears = preprocessor(logmel_inputs(), {"audio.json": WINDOWS.to_bytes()}, Limits())
    rows = [hears.read(sounds.wav(number, seconds)) for number, seconds in enumerate((0.3, 1.0, 1.9, 2.7, 3.3, 3.9))]
    return hears.batch(rows)["audio"]


def logmel_inputs() -> Mapping[str, Input]:
    return logmel.load("logmel", zoo.Setting()).inputs


def run(backbone: Backbone, audio_BWS: NDArray[np.float32]) -> NDArray[np.float32]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(member(backbone), options, providers=["CPUExecutionProvider"])
    out: NDArray[np.float32] = session.run(["raw"], {"audio": audio_BWS})[0]
    return out


@pytest.fixture(scope="module", params=NAMES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return zoo.load(request.param, zoo.Setting())


def test_a_sound_has_the_same_features_alone_beside_others_and_before_windows_of_zeros(
    backbone: Backbone, heard: NDArray[np.float32]
) -> None:
    together = run(backbone, heard)
    padded = run(backbone, np.concatenate([heard, np.zeros_like(heard)], axis=1))
    alone = np.concatenate([run(backbone, row[None, row.any(axis=1)]) for row in heard])
    assert np.abs(together - padded).max() < 1e-5
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(run(backbone, heard[::-1])[::-1] - together).max() < 1e-5


def test_windows_are_averaged(backbone: Backbone, heard: NDArray[np.float32]) -> None:
    two_WS = heard[3, :2]
    each = run(backbone, two_WS[:, None])
    assert np.allclose(run(backbone, two_WS[None])[0], each.mean(axis=0), atol=1e-4)


def test_silence_has_features_of_zeros_and_a_served_answer(backbone: Backbone) -> None:
    silent = np.zeros((2, 2, WINDOWS.samples), np.float32)
    assert not run(backbone, silent).any()
    assert not Session(compose([Member(graph=member(backbone))])).features({"audio": silent}).any()


def test_rows_state_what_is_loaded(backbone: Backbone) -> None:
    row = next(row for row in zoo.available("audio") if row.name == backbone.name)
    assert (row.dimension, row.parameters) == (backbone.dimension, backbone.parameters)
    assert row.offline
    assert row.licence == backbone.licence
    assert "CC-BY-NC-SA" in zoo.load("openwakeword", zoo.Setting()).licence


def test_all_hear_the_same_windows_so_that_they_can_be_fused(heard: NDArray[np.float32]) -> None:
    loaded = [zoo.load(name, zoo.Setting()) for name in NAMES]
    assert len({tuple(one.files.items()) for one in loaded}) == 1
    model = compose([Member(graph=member(one)) for one in loaded])
    assert Session(model).features({"audio": heard}).shape == (6, 240 + 384 + 256)


@pytest.mark.parametrize("name", ["openwakeword", "resemblyzer"])
def test_a_package_that_is_not_installed_is_named_with_the_way_to_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"openwakeword": openwakeword, "resemblyzer": resemblyzer}[name]
    monkeypatch.setattr(module.util, "find_spec", lambda wanted: None)
    assert not module.names()[0].offline
    assert module.examples(Path()) == ()
    with pytest.raises(BadConfiguration, match="--no-deps") as caught:
        module.load(name, zoo.Setting())
    (pin,) = re.findall(rf"{name}==[\d.]+", caught.value.remedy)
    assert pin in (Path(__file__).parents[2] / "weights.txt").read_text(encoding="utf-8").splitlines()


def test_the_spectrum_is_that_of_a_fourier_transform(heard: NDArray[np.float32]) -> None:
    made = sound.Graph()
    power = made.spectrum(made.windows(WINDOWS.samples), *sound.fourier(512, 400), 160)
    made.nodes.append(onnx.helper.make_node("Identity", [power], ["raw"]))
    graph = onnx.helper.make_graph(
        made.nodes,
        "spectrum",
        [onnx.helper.make_tensor_value_info("audio", 1, ["b", "w", WINDOWS.samples])],
        [onnx.helper.make_tensor_value_info("raw", 1, None)],
        made.constants,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    (found_NFT,) = ort.InferenceSession(model.SerializeToString()).run(None, {"audio": heard[:, :1]})
    assert np.abs(found_NFT - reference(heard[:, 0], 512, 400, 160)).max() < 1e-4 * found_NFT.max()


def reference(audio_NS: NDArray[np.float32], size: int, length: int, hop: int) -> NDArray[np.float64]:
    """(N, F, T) power, frame by frame."""
    window_L = np.zeros(size)
    window_L[(size - length) // 2 : (size + length) // 2] = get_window("hann", length)
    starts = range(0, audio_NS.shape[1] - size + 1, hop)
    return np.stack([np.abs(np.fft.rfft(audio_NS[:, i : i + size] * window_L)) ** 2 for i in starts], axis=2)


def test_log_mel_statistics_are_those_of_a_plain_reading(heard: NDArray[np.float32]) -> None:
    audio_NS = heard[:3, 0]
    power_NTF = reference(audio_NS, 512, 400, 160).transpose(0, 2, 1)
    levels_NTM = np.log1p(power_NTF @ sound.mel(512, 16_000, 40, 20.0, 8_000.0) / 1e-3)
    found = run(zoo.load("logmel", zoo.Setting()), audio_NS[:, None])
    for row, (levels_TM, wave_S) in enumerate(zip(levels_NTM, audio_NS, strict=True)):
        held = np.array([wave_S[160 * t : 160 * t + 512].any() for t in range(len(levels_TM))])
        inside_TM = levels_TM[held]
        places = (np.arange(len(inside_TM)) + 0.5) / len(inside_TM)
        course = [(inside_TM * np.cos(np.pi * wave * places)[:, None]).mean(axis=0) for wave in range(4)]
        change = np.sqrt((np.diff(inside_TM, axis=0) ** 2).mean(axis=0))
        wanted = np.concatenate([*course, inside_TM.std(axis=0), change])
        assert np.abs(found[row] - wanted).max() < 2e-3


def test_openwakeword_embeds_as_the_two_files_of_the_package_do(heard: NDArray[np.float32]) -> None:
    """Its own files, run one after the other over single windows, and the 76 frames at each place cut out by hand."""
    files = [ort.InferenceSession(path.read_bytes()) for path in openwakeword._paths()]
    found = run(zoo.load("openwakeword", zoo.Setting()), heard[:, :1])
    for row, wave_S in enumerate(heard[:, 0]):
        levels_TM = files[0].run(None, {"input": 32_767 * wave_S[None]})[0][0, 0] / 10 + 2
        seen = np.stack([levels_TM[i : i + 76, :, None] for i in range(0, len(levels_TM) - 75, 8)])
        places_PD = files[1].run(None, {"input_1": seen})[0][:, 0, 0]
        held_T = np.array([wave_S[160 * t : 160 * t + 512].any() for t in range(len(levels_TM))])
        share_P = np.array([held_T[i : i + 76].mean() for i in range(0, len(levels_TM) - 75, 8)])
        share_P /= share_P.sum()
        middle_P = np.cumsum(share_P) - share_P / 2
        wanted = np.concatenate([(share_P * np.cos(np.pi * wave * middle_P)) @ places_PD for wave in range(4)])
        assert np.abs(found[row] - wanted).max() < 1e-3 * np.abs(wanted).max()


def test_resemblyzer_is_torchs_lstm_read_at_the_last_frame_with_sound(heard: NDArray[np.float32]) -> None:
    stored = resemblyzer.weights(resemblyzer._path())
    lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
    lstm.load_state_dict({key.removeprefix("lstm."): torch.from_numpy(a) for key, a in stored.items() if "lstm" in key})
    found = run(zoo.load("resemblyzer", zoo.Setting()), heard[:, :1])
    bands_FM = sound.triangles(400, 16_000, resemblyzer._edges()) * resemblyzer._heights()
    for row, wave_S in enumerate(heard[:, 0]):
        padded_S = np.pad(0.5 * wave_S, 200)
        power_TF = reference(padded_S[None], 400, 400, 160)[0].T
        last = int(np.flatnonzero([padded_S[160 * t : 160 * t + 400].any() for t in range(len(power_TF))])[-1])
        with torch.inference_mode():
            out = lstm(torch.from_numpy((power_TF @ bands_FM)[None, : last + 1].astype(np.float32)))[0][0, -1].numpy()
        voice = np.maximum(0, stored["linear.weight"] @ out + stored["linear.bias"])
        assert np.abs(found[row] - voice / np.linalg.norm(voice)).max() < 1e-4


def test_slaneys_bands_are_those_that_librosa_draws() -> None:
    """Edges in Hz for 40 bands up to 8 kHz; the first ones are even, the last ones grow by a constant factor."""
    edges = resemblyzer._edges()
    assert len(edges) == 42
    assert edges[0] == 0
    assert edges[-1] == pytest.approx(8_000)
    assert np.diff(edges[:13]) == pytest.approx(np.full(12, edges[1]))
    assert edges[-2] / edges[-3] == pytest.approx(edges[-1] / edges[-2])
    assert edges[1] == pytest.approx(45.245640471924965 * 200 / 3 / 41)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    torch.save({"model_state": {"linear.weight": torch.zeros(2, 2)}}, tmp_path / "other.pt")
    with pytest.raises(BadConfiguration, match="speaker encoder"):
        resemblyzer.weights(tmp_path / "other.pt")
