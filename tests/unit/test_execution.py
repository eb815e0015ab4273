"""Devices: who takes which, and what is done when one is not there or is lost."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadConfiguration, DeviceLost, Unavailable
from core.execution import Gpu, check_device, choose_gpu, loss
from core.session import Session
from lepton.gpu import why_not
from service.engine.engine import Engine, EngineSettings
from service.engine.faults import FAILURES, TRIES, Faults, explained
from service.engine.snapshot import Snapshot
from tests import pico
from tests.fakes import FailingSession
from tests.homes import home_at
from tests.waiting import until

PIXELS = {"image": np.zeros((2, pico.SIDE, pico.SIDE, 3), np.uint8)}
ILLEGAL = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Gemm node. Status Message: "
    "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; expr=cudaStreamSynchronize(stream)"
)
FULL = "CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size)"


class Ears:
    """Told of swaps, and silent."""

    def swapped(self, before: Snapshot | None, now: Snapshot) -> None: ...


def test_workers_take_the_listed_gpus_in_turn() -> None:
    assert [choose_gpu("2, 0", worker) for worker in (1, 2, 3)] == [2, 0, 2]


@given(st.integers(1, 8), st.integers(1, 64))
def test_workers_spread_evenly_over_all_gpus_in_sight(count: int, workers: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.execution.devices", lambda: ("NVIDIA",) * count)
        taken = [choose_gpu("", worker) for worker in range(1, workers + 1)]
    shares = [taken.count(index) for index in range(count)]
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("gpus", ["a", "0;1", "-1", ","])
def test_gpus_that_are_no_numbers_are_refused(gpus: str) -> None:
    with pytest.raises(BadConfiguration, match=r"serve\.gpus"):
        choose_gpu(gpus, 1)


def test_a_gpu_that_is_asked_for_and_missing_stops_the_worker_at_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.execution.devices", lambda: ("NVIDIA",))
    check_device("cuda", 0)
    check_device("auto", 3)
    with pytest.raises(BadConfiguration, match="no NVIDIA GPU number 1: the driver shows 1"):
        check_device("tensorrt", 1)


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_no_session_on_a_gpu_quietly_runs_on_the_processor(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.execution.devices", lambda: ())
    with pytest.raises(BadConfiguration, match="no usable NVIDIA GPU"):
        Session(pico.model(), device=device, gpu=Gpu(graphs=False))  # type: ignore[arg-type]
    assert Session(pico.model(), device="auto").device == "cpu"


@pytest.mark.parametrize(
    ("said", "lost"),
    [
        (ILLEGAL, "CUDA failure 700: an illegal memory access was encountered"),
        ("CUDA failure 719: unspecified launch failure ; GPU=0", "CUDA failure 719: unspecified launch failure"),
        ("CUDA failure 214: uncorrectable ECC error encountered ; GPU=1", None),
        ("CUDA failure 100: no CUDA-capable device is detected ; GPU=-1", "CUDA failure 100: no CUDA-capable device"),
        ("CUDA failure 999", "CUDA failure 999: no more is said"),
        (FULL, ""),
        ("CUDA failure 1: invalid argument ; GPU=1", ""),
        ("Got invalid dimensions for input: image", ""),
    ],
)
def test_a_lost_gpu_is_told_from_other_failures(said: str, lost: str | None) -> None:
    found = loss(RuntimeError(said))
    assert found is None if lost == "" else found is not None and found.startswith(lost or "CUDA failure 214")


def test_a_session_that_lost_its_gpu_says_so_and_runs_no_more() -> None:
    session = FailingSession(pico.model())
    session.predict(PIXELS)
    session.said = ILLEGAL
    with pytest.raises(DeviceLost, match="CUDA failure 700") as raised:
        session.predict(PIXELS)
    assert raised.value.status == 503
    session.said, runs = "", session.runs
    with pytest.raises(DeviceLost, match="start the worker again"):
        session.predict(PIXELS)
    assert session.runs == runs
    assert session.lost == "CUDA failure 700: an illegal memory access was encountered"


def test_a_full_gpu_is_not_lost() -> None:
    session = FailingSession(pico.model())
    session.said = FULL
    with pytest.raises(RuntimeError, match="out of memory"):
        session.predict(PIXELS)
    session.said = ""
    assert len(session.predict(PIXELS).outputs) == 2
    assert session.lost is None


@pytest.mark.parametrize(
    "said", [FULL, "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 4096"]
)
def test_a_full_gpu_is_no_fault_of_a_model(said: str) -> None:
    faults, full = Faults(lambda: 0.0), explained(RuntimeError(said))
    assert isinstance(full, Unavailable)
    assert not any(faults.answered("ward", "v1", full) for _ in range(FAILURES + 1))
    broken = explained(RuntimeError("Got invalid dimensions"))
    assert [faults.answered("ward", "v1", broken) for _ in range(FAILURES)][-1]


def test_a_worker_that_lost_its_gpu_is_no_longer_alive(tmp_path: Path) -> None:
    home = home_at(tmp_path)
    pico.register(home)
    engine = Engine(home, EngineSettings(threads=1, device="cpu", max_batch=2, poll_seconds=0.01), Ears())
    engine.start()
    try:
        until(engine.ready)
        assert engine.alive()
        assert engine.lost() is None
        engine.snapshots()[0].session.lost = "CUDA failure 719: unspecified launch failure"
        assert not engine.alive()
        assert engine.lost() == "CUDA failure 719: unspecified launch failure"
    finally:
        engine.stop()
        home.close()


def test_no_version_is_given_up_for_a_gpu_that_is_not_there() -> None:
    faults = Faults(lambda: 0.0)
    for error in (DeviceLost("gone", "start again"), BadConfiguration("no GPU", "install one")):
        assert not any(faults.failed("ward", "v1", error) for _ in range(TRIES + 1))


def test_a_gpu_without_its_libraries_is_told_and_only_auto_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("core.execution.devices", lambda: ("NVIDIA",))
    if not why_not("CUDAExecutionProvider"):
        assert Session(pico.model(), device="cuda").device == "cuda"
        return
    with pytest.raises(BadConfiguration, match="cannot load its CUDAExecutionProvider"):
        Session(pico.model(), device="cuda")
    assert Session(pico.model(), device="auto").device == "cpu"
    assert "a GPU is in sight, but the CPU is used" in caplog.text
