"""Foreign bundles in a limited process: what they do there is a reason, and this process lives on."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from core import bundle, confined
from core.bundle import Golden
from core.confined import Leash
from core.errors import BrokenBundle, Unavailable
from core.home import Home
from exporters.compose import read
from service.engine.trial import trial
from tests import pico
from tests.homes import home_at
from tests.waiting import until
from training.onnx_trial import output_shape


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_at(tmp_path / "home")


def foreign(home: Home, proto: ModelProto | None = None, golden: Golden | None = None) -> str:
    """A bundle with this graph or these golden rows, its digests right; returns its version."""
    made = home.bundle(pico.register(home).version.version)
    files = {
        bundle.MODEL: made.model if proto is None else proto.SerializeToString(),
        bundle.GOLDEN: bundle.golden_bytes(made.golden if golden is None else golden),
    }
    folder = home.settings.home / "made"
    version = bundle.write(folder, made.manifest, files)
    home.artifacts.adopt(folder, version)
    return version


def graph(home: Home) -> ModelProto:
    """The graph of a good version."""
    return read(home.bundle(pico.register(home).version.version).model)


def detour(proto: ModelProto, *nodes: object, name: str = "detour") -> ModelProto:
    """The graph with ``nodes`` before it, whose output ``name``, one float, is added to every answer."""
    answer = next(node for node in proto.graph.node if "probabilities" in node.output)
    answer.output[0] = "before"
    proto.graph.node.extend([*nodes, helper.make_node("Add", ["before", name], ["probabilities"])])
    return proto


def number(proto: ModelProto, name: str, value: object, dtype: type = np.int64) -> None:
    proto.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))


def endless(proto: ModelProto) -> ModelProto:
    """A Loop whose condition stays true, for 2**62 turns."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["cond"], ["cond_out"]),
            helper.make_node("Cos", ["state"], ["state_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("cond_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, []),
        ],
    )
    number(proto, "turns", 2**62)
    number(proto, "start", 0.5, np.float32)
    cast = helper.make_node("ReduceSum", ["features"], ["sum"], keepdims=0)  # of the input: no folding at build time
    loop = helper.make_node("Loop", ["turns", "", "sum"], ["detour"], body=body)
    return detour(proto, cast, loop)


def greedy(proto: ModelProto, length: int) -> ModelProto:
    """An Expand to that many floats."""
    number(proto, "huge", [length])
    one = helper.make_node("ReduceSum", ["features"], ["sum"], keepdims=0)
    expand = helper.make_node("Expand", ["sum", "huge"], ["much"])
    least = helper.make_node("ReduceMin", ["much"], ["detour"], keepdims=0)
    return detour(proto, one, expand, least)


def crashing(proto: ModelProto) -> ModelProto:
    """A DFT with its optional inputs left empty, which ONNX Runtime does not survive."""
    number(proto, "line", [1, -1, 1])
    flat = helper.make_node("Reshape", ["features", "line"], ["wave"])
    dft = helper.make_node("DFT", ["wave", "", ""], ["spectrum"])
    least = helper.make_node("ReduceMin", ["spectrum"], ["detour"], keepdims=0)
    return detour(proto, flat, dft, least)


def confined_children() -> list[psutil.Process]:
    """This process may have others, such as the tracker that multiprocessing leaves behind."""
    return [child for child in psutil.Process().children() if "core.confined" in child.cmdline()]


def test_a_good_foreign_bundle_passes(home: Home) -> None:
    trial(home.settings.home, foreign(home), threads=1, max_batch=4)


def test_a_trial_ends_with_who_asked_for_it(home: Home) -> None:
    version, leash = foreign(home, endless(graph(home))), Leash()
    limits = {"threads": 1, "max_batch": 2, "seconds": 60}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(trial, home.settings.home, version, **limits, leash=leash)
        (child,) = until(confined_children)
        until(lambda: any("onnxruntime" in mapped.path for mapped in child.memory_maps()))
        leash.pull()
        with pytest.raises(Unavailable, match="cannot end"):
            running.result(20)
        assert not child.is_running()
        with pytest.raises(Unavailable, match="cannot end"):
            trial(home.settings.home, version, **limits, leash=leash)


def test_a_loop_that_never_ends_is_stopped(home: Home) -> None:
    version = foreign(home, endless(graph(home)))
    with pytest.raises(BrokenBundle, match="did not end within 4 seconds"):
        trial(home.settings.home, version, threads=1, max_batch=2, seconds=4)


@pytest.mark.parametrize("length", [2**28, 2**40])  # 1 GiB, which this machine has, and 4 TiB
def test_a_graph_that_wants_too_much_memory_is_refused(home: Home, length: int) -> None:
    with pytest.raises(BrokenBundle, match="needs more than 1024 MiB"):
        trial(home.settings.home, foreign(home, greedy(graph(home), length)), threads=1, max_batch=2, megabytes=1024)


def test_a_graph_that_crashes_its_process_is_refused(home: Home) -> None:
    with pytest.raises(BrokenBundle, match="crashed the process"):
        trial(home.settings.home, foreign(home, crashing(graph(home))), threads=1, max_batch=2)


def test_wrong_golden_rows_are_told(home: Home) -> None:
    made = home.bundle(pico.register(home).version.version).golden
    wrong = Golden(made.inputs, made.features, made.outputs[:, ::-1].copy())
    with pytest.raises(BrokenBundle, match="golden rows differently"):
        trial(home.settings.home, foreign(home, golden=wrong), threads=1, max_batch=2)


def test_a_file_that_was_changed_after_its_digest_is_told(home: Home) -> None:
    version = foreign(home)
    model = home.artifacts.bundle(version) / bundle.MODEL
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    with pytest.raises(BrokenBundle, match="digest"):
        trial(home.settings.home, version, threads=1, max_batch=2)


def test_a_foreign_onnx_file_that_crashes_is_a_reason(home: Home) -> None:
    model = crashing(graph(home)).SerializeToString()
    shape, reason = output_shape(model, "image", (1, pico.SIDE, pico.SIDE, 3), "uint8", "probabilities")
    assert (shape, reason) == ((), "it crashed the process (SIGSEGV)")


def test_the_limited_process_ends_with_who_asked_for_it(home: Home) -> None:
    version = foreign(home, endless(graph(home)))
    code = f"""
from pathlib import Path
from service.engine.trial import trial
trial(Path({str(home.settings.home)!r}), {version!r}, threads=1, max_batch=2)
"""
    asking = subprocess.Popen([sys.executable, "-c", code])
    children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children")
    try:
        (child,) = until(lambda: children.read_text().split())
    finally:
        asking.kill()
        asking.wait()
    until(lambda: not _runs(int(child)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_trial_that_is_stopped_from_outside_says_nothing_against_the_version(
    home: Home, number: signal.Signals
) -> None:
    version = foreign(home, endless(graph(home)))
    with ThreadPoolExecutor(1) as asking:
        asked = asking.submit(trial, home.settings.home, version, threads=1, max_batch=2, seconds=30)
        (child,) = until(_trying)
        assert os.getsid(child.pid) == child.pid, "what is typed at the terminal does not reach it"
        child.send_signal(number)
        with pytest.raises(Unavailable, match=f"was stopped by {number.name}"):
            asked.result()


def _trying() -> list[psutil.Process]:
    """Limited processes of this one that have begun to compute."""
    children = psutil.Process().children()
    return [child for child in children if "core.confined" in child.cmdline() and child.cpu_times().user > 1.0]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_the_limited_process_sees_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEPTON_DATABASE_PASSWORD", "geheim")
    told = confined.run("tests.unit.test_trial", ["environment"], seconds=60, megabytes=2048).told
    assert "PATH" in told["names"]
    assert "LEPTON_DATABASE_PASSWORD" not in told["names"]


def test_the_limited_process_writes_no_file(tmp_path: Path) -> None:
    outcome = confined.run("tests.unit.test_trial", ["write", str(tmp_path / "left")], seconds=60, megabytes=2048)
    assert "File too large" in outcome.reason


def work(arguments: Sequence[str], data: bytes) -> Mapping[str, object]:
    """What the limited process does in the tests above."""
    if arguments[0] == "write":
        Path(arguments[1]).write_bytes(b"x")
    return {"names": sorted(os.environ)}
