"""Pictures changed by at most ε so that a network errs: the fast gradient sign, and its iteration with projection.

Promises pixels in 0 to 255 that differ from the originals by at most ``epsilon`` in any channel, in pixel units (4 is
4/255). Knows nothing of what the loss means or of training.

Reference: Goodfellow et al., arXiv 1412.6572 (FGSM); Madry et al., arXiv 1706.06083 (PGD); the random start of FGSM:
Wong et al., arXiv 2001.03994.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Loss = Callable[[torch.Tensor], torch.Tensor]  # pixels (B, H, W, 3) to (B,): what the attack makes large

_FAST, _REACH = 1.25, 2.5  # length of the one step, and of all steps together, in ε


def fgsm(pixels: torch.Tensor, loss: Loss, epsilon: float) -> torch.Tensor:
    """One step along the sign of the gradient, from a random start."""
    return _steps(pixels, loss, epsilon, 1, _FAST * epsilon)


def pgd(pixels: torch.Tensor, loss: Loss, epsilon: float, steps: int) -> torch.Tensor:
    """Several smaller steps, each drawn back into the box around the original."""
    return _steps(pixels, loss, epsilon, steps, _REACH * epsilon / steps)


def _steps(pixels: torch.Tensor, loss: Loss, epsilon: float, steps: int, length: float) -> torch.Tensor:
    start = pixels.detach().to(torch.float32)
    found = _inside(start + (2 * torch.rand_like(start) - 1) * epsilon, start, epsilon)
    for _ in range(steps):
        found.requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(loss(found).sum(), found)
        found = _inside(found.detach() + length * slope.sign(), start, epsilon)
    return found.detach()


def _inside(pixels: torch.Tensor, start: torch.Tensor, epsilon: float) -> torch.Tensor:
    return torch.minimum(torch.maximum(pixels, start - epsilon), start + epsilon).clamp(0.0, 255.0)
