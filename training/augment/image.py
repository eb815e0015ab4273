"""Pictures that are moved, coloured, partly hidden and mixed: the same thing to the eye.

When to use: few labels, photographs, and scenes that look at a thing from several sides. Limit: mirrored letters and
road signs are other letters and signs, so nothing is mirrored unless it is asked for; fine texture suffers by rotation.
Promises float32 in 0 to 255 of the same shape; targets of mixed pictures sum to 1. Knows nothing of networks.

Reference: Zhong et al., random erasing, arXiv 1708.04896; Zhang et al., mixup, arXiv 1710.09412; Yun et al., CutMix,
arXiv 1905.04899.

Legend: B batch, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

KEY = "image"
_TURN, _SHIFT, _ZOOM = 20.0, 0.12, 0.25  # degrees, share of a side, share of the size; at strength 1
_COLOUR = 0.4  # factors on brightness, contrast and saturation lie in 1 ± this
_HIDDEN = 0.25  # of the area
_ALPHA = 0.4  # of the beta distribution of mixing shares


def rewrite(data: bytes, strength: float, chance: np.random.Generator) -> bytes:
    """Files stay as they are."""
    del strength, chance
    return data


def vary(inputs: Mapping[str, torch.Tensor], strength: float, chance: np.random.Generator) -> dict[str, torch.Tensor]:
    """Moved, coloured and partly hidden."""
    pixels = inputs[KEY].to(torch.float32)
    if strength > 0:
        pixels = erased(coloured(moved(pixels, strength, chance), strength, chance), strength, chance)
    return {**inputs, KEY: pixels}


def attach(body: torch.nn.Module, strength: float, chance: np.random.Generator) -> Sequence[RemovableHandle]:
    """Nothing."""
    del body, strength, chance
    return ()


def mirrored(pixels_BHWC: torch.Tensor, chance: np.random.Generator) -> torch.Tensor:
    """Half of the pictures with left and right exchanged."""
    flip_B = torch.from_numpy(chance.random(len(pixels_BHWC)) < 0.5)
    return torch.where(flip_B[:, None, None, None], pixels_BHWC.flip(2), pixels_BHWC)


def moved(pixels_BHWC: torch.Tensor, strength: float, chance: np.random.Generator) -> torch.Tensor:
    """Turned, shifted and zoomed in or out a little; what comes in from outside is the border."""
    count = len(pixels_BHWC)
    angle_B = np.deg2rad(_TURN) * strength * chance.uniform(-1, 1, count)
    zoom_B = 1.0 + _ZOOM * strength * chance.uniform(-1, 1, count)
    shift_B2 = 2 * _SHIFT * strength * chance.uniform(-1, 1, (count, 2))
    theta_B23 = np.zeros((count, 2, 3), np.float32)
    theta_B23[:, 0, 0] = theta_B23[:, 1, 1] = zoom_B * np.cos(angle_B)
    theta_B23[:, 0, 1], theta_B23[:, 1, 0] = -zoom_B * np.sin(angle_B), zoom_B * np.sin(angle_B)
    theta_B23[:, :, 2] = shift_B2
    planes_BCHW = pixels_BHWC.permute(0, 3, 1, 2)
    grid = functional.affine_grid(torch.from_numpy(theta_B23), list(planes_BCHW.shape), align_corners=False)
    found_BCHW = functional.grid_sample(planes_BCHW, grid, padding_mode="border", align_corners=False)
    pixels: torch.Tensor = found_BCHW.permute(0, 2, 3, 1).clamp(0.0, 255.0).contiguous()
    return pixels


def coloured(pixels_BHWC: torch.Tensor, strength: float, chance: np.random.Generator) -> torch.Tensor:
    """Brighter or darker, with more or less contrast and colour."""
    factors_3B = 1.0 + _COLOUR * strength * chance.uniform(-1, 1, (3, len(pixels_BHWC)))
    brightness, contrast, saturation = torch.from_numpy(factors_3B.astype(np.float32))[:, :, None, None, None]
    bright = pixels_BHWC * brightness
    middle = bright.mean(dim=(1, 2, 3), keepdim=True)
    clear = (bright - middle) * contrast + middle
    grey = clear.mean(dim=3, keepdim=True)
    found: torch.Tensor = ((clear - grey) * saturation + grey).clamp(0.0, 255.0)
    return found


def erased(pixels_BHWC: torch.Tensor, strength: float, chance: np.random.Generator) -> torch.Tensor:
    """Half of the pictures with a rectangle in their own mean colour."""
    count, height, width, _ = pixels_BHWC.shape
    boxes = [_box(height, width, _HIDDEN * strength * chance.random(), chance) for _ in range(count)]
    found = pixels_BHWC.clone()
    for place, (hide, box) in enumerate(zip(chance.random(count) < 0.5, boxes, strict=True)):
        if hide:
            found[place, box[0], box[1]] = pixels_BHWC[place].mean(dim=(0, 1))
    return found


def mixed(
    pixels_BHWC: torch.Tensor, targets_BK: torch.Tensor, chance: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each picture with another of the batch, whole (mixup) or by a rectangle (CutMix), and targets in that share."""
    count, height, width, _ = pixels_BHWC.shape
    other = torch.from_numpy(chance.permutation(count))
    share = float(chance.beta(_ALPHA, _ALPHA))
    if chance.random() < 0.5:
        whole = (share * pixels_BHWC + (1 - share) * pixels_BHWC[other]).clamp(0.0, 255.0)
        return whole, share * targets_BK + (1 - share) * targets_BK[other]
    rows, columns = _box(height, width, 1 - share, chance)
    found = pixels_BHWC.clone()
    found[:, rows, columns] = pixels_BHWC[other][:, rows, columns]
    taken = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
    return found, (1 - taken) * targets_BK + taken * targets_BK[other]


def _box(height: int, width: int, area: float, chance: np.random.Generator) -> tuple[slice, slice]:
    """A rectangle of about so large a share, somewhere inside."""
    longer = 2.0 ** chance.uniform(-0.5, 0.5)
    rows = min(height, round(height * area**0.5 * longer))
    columns = min(width, round(width * area**0.5 / longer))
    top, left = int(chance.integers(height - rows + 1)), int(chance.integers(width - columns + 1))
    return slice(top, top + rows), slice(left, left + columns)
