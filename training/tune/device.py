"""Where a training loop runs: alone, or as one of several processes that torchrun started.

Promises that the loop need not know which: it takes its share of a batch, and sums go over all processes, so that
gradients are those of the whole batch (to rounding). Weights start alike because every process starts from the same
seed and base. One call sums all gradients after the backward pass; nothing is wrapped, so that weights may be frozen
and thawed, and a loss may pass through the network several times. Knows nothing of models or losses.

``torchrun --nproc-per-node 2 …`` sets RANK, WORLD_SIZE and LOCAL_RANK; gloo on the CPU, nccl on GPUs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import distributed

SETTLE = 0.2  # seconds in which a thread of gloo lets go of its last tensor; it aborts an interpreter that ends before


@dataclass(frozen=True, kw_only=True)
class Device:
    """One of ``world`` processes, and the place where it computes."""

    place: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, tells and registers."""
        return self.rank == 0

    def share(self, places: Sequence[int]) -> list[int]:
        """This process's part of a batch; it may be empty."""
        return list(places[self.rank :: self.world])

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        if self.world == 1:
            return value
        summed = value.detach().clone()
        distributed.all_reduce(summed)
        return summed

    def add_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give every process the sum of all processes' gradients; a missing one counts as zero."""
        if self.world == 1:
            return
        held = [parameter for parameter in parameters if parameter.requires_grad]
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1).to(torch.float32) for p in held]
        )
        distributed.all_reduce(flat)
        for parameter, part in zip(held, torch.split(flat, [p.numel() for p in held]), strict=True):
            parameter.grad = part.reshape(parameter.shape).to(parameter.dtype)

    def any(self, flag: bool) -> bool:
        """Whether it holds in any process: all of them hear the same."""
        if self.world == 1:
            return flag
        return bool(self.total(torch.tensor(float(flag), device=self.place)) > 0)

    def least(self, value: float) -> float:
        """The smallest value that any process has."""
        if self.world == 1:
            return value
        told = torch.tensor(value, dtype=torch.float64, device=self.place)
        distributed.all_reduce(told, distributed.ReduceOp.MIN)
        return float(told)

    @contextlib.contextmanager
    def repeatable(self) -> Iterator[None]:
        """Inside, the same work gives the same bits: on a GPU no kernel is taken that adds in an order by chance.

        The CPU's are so with one number of threads. An operation that has no such kernel says so in a warning.
        """
        if self.place.type != "cuda":
            yield
            return
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
        held = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(held[0], warn_only=held[1])

    def autocast(self) -> AbstractContextManager[object]:
        """Mixed precision (bfloat16) on a GPU that has it, which needs no scaling of losses; nothing on the CPU."""
        if self.place.type == "cuda" and torch.cuda.is_bf16_supported():
            return torch.autocast("cuda", torch.bfloat16)
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """What the first process leaves in a cache, the others find there."""
        if self.world > 1 and not self.first:
            distributed.barrier()
        try:
            yield
        finally:
            if self.world > 1 and self.first:
                distributed.barrier()


def alone(index: int = 0) -> Device:
    """This process by itself, on GPU number ``index`` where there is one."""
    return Device(place=_place(index))


@contextlib.contextmanager
def joined(environment: Mapping[str, str] | None = None) -> Iterator[Device]:
    """The device that this process was started for: one of torchrun's, or alone, on the GPU where there is one."""
    told = os.environ if environment is None else environment
    world, rank = int(told.get("WORLD_SIZE", "1")), int(told.get("RANK", "0"))
    if world == 1:
        yield alone(int(told.get("LOCAL_RANK", "0")))
        return
    place = _place(int(told.get("LOCAL_RANK", "0")))
    if cuda := place.type == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if cuda else "gloo", rank=rank, world_size=world)
    try:
        yield Device(place=place, rank=rank, world=world)
    finally:
        distributed.destroy_process_group()
        time.sleep(SETTLE)


def _place(index: int) -> torch.device:
    return torch.device("cuda", index) if torch.cuda.is_available() else torch.device("cpu")
