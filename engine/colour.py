"""Colour of the restored frames made to follow the source, frame by frame, in float32.

The network shifts colour and brightness, differently in each frame. The source, resized to the result, knows both at
low frequencies: `two_scale` takes from it luma coarser than a sigma of 6.5 result pixels, and chroma coarser than about
1.6 source pixels. The other methods are the usual ones, for those who know and want them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .colour_blur import low_pass
from .colour_lab import match_lab, mix_planes
from .errors import EngineError
from .frames import check_finite, check_frames, check_partners, planes_of

# ITU-R BT.709: R'G'B' to Y'CbCr and back
RGB_TO_YCBCR = (
    (0.2126, 0.7152, 0.0722),
    (-0.2126 / 1.8556, -0.7152 / 1.8556, (1 - 0.0722) / 1.8556),
    ((1 - 0.2126) / 1.5748, -0.7152 / 1.5748, -0.0722 / 1.5748),
)
YCBCR_TO_RGB = (
    (1.0, 0.0, 1.5748),
    (1.0, -0.0722 * 1.8556 / 0.7152, -0.2126 * 1.5748 / 0.7152),
    (1.0, 1.8556, 0.0),
)
LUMA_STAGES = 4  # sigma 6.5 px: finer loses detail, coarser leaves flicker, at every factor
WAVELET_STAGES = 5  # sigma 13 px
CHROMA_STAGES = (2, 5)  # fewest and most
USUAL_CHROMA_STAGES = 3  # enlarging by two
VARIANCE_FLOOR = 1e-5 / 4  # 1e-5 for values in −1..1, as this method is usually given


def transfer(
    content: Tensor, reference: Tensor, method: str = "two_scale", *, source_size: tuple[int, int] | None = None
) -> Tensor:
    """Restored frames [T, H, W, 3] with the colours of the reference [T, H, W, 3], float32, clamped once to 0..1.

    content may exceed 0..1: give it as decoded. source_size (height, width) before resizing sets the scale of chroma;
    without it twofold enlargement is assumed. Raises BadFrames for NaN or infinity, BadSize for unequal shapes.
    """
    check_frames(content)
    check_partners(content, reference)
    correct = pick_method(method, chroma_stages(content.shape[1:3], source_size))
    result = torch.empty_like(content, dtype=torch.float32)
    for number, frame in enumerate(content):
        check_finite(frame, number)
        corrected = correct(planes_of(frame), planes_of(reference[number].to(frame.device)))
        result[number] = corrected.permute(1, 2, 0)
    return result


def transfer_planes(content: Tensor, reference: Tensor, method: str, source_size: tuple[int, int]) -> Tensor:
    """The same for planes [3, H, W] of one frame, float32, finite; both may be written over."""
    return pick_method(method, chroma_stages(content.shape[1:], source_size))(content, reference)


def pick_method(method: str, chroma: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The function of planes [3, H, W] behind a name, clamped to 0..1. Each may write over its arguments."""
    methods: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "two_scale": lambda content, reference: correct_two_scale(content, reference, chroma),
        "lab": correct_lab,
        "wavelet": correct_wavelet,
        "adain": correct_adain,
        "none": lambda content, reference: content,
    }
    if method not in methods:
        raise EngineError(f"Got colour correction {method!r}, expected one of {', '.join(methods)}.")
    return lambda content, reference: methods[method](content, reference).clamp_(0, 1)


def chroma_stages(size: tuple[int, ...], source_size: tuple[int, int] | None) -> int:
    """Stages whose sigma comes nearest to 1.6 source pixels: a 4:2:0 source knows chroma at every second pixel only.

    k stages for 2^(2k − 5) ≤ f² < 2^(2k − 3), f the enlargement; decided in integers.
    """
    if source_size is None:
        return USUAL_CHROMA_STAGES
    fewest, most = CHROMA_STAGES
    pixels, source_pixels = size[0] * size[1], source_size[0] * source_size[1]
    return fewest + sum(pixels >= source_pixels << (2 * stages - 3) for stages in range(fewest, most))


def correct_two_scale(content: Tensor, reference: Tensor, chroma: int) -> Tensor:
    """Add the low-passed difference, luma and chroma each at its own scale; equal frames stay equal bit for bit."""
    if chroma == LUMA_STAGES:  # one filter for all: the same in any mix of the channels
        return content.add_(low_pass(reference.sub_(content), range(LUMA_STAGES)))
    difference = mix_planes(RGB_TO_YCBCR, reference.sub_(content))
    shared = min(LUMA_STAGES, chroma)
    low_pass(difference, range(shared))
    low_pass(difference[:1], range(shared, LUMA_STAGES))
    low_pass(difference[1:], range(shared, chroma))
    return content.add_(mix_planes(YCBCR_TO_RGB, difference))


def correct_wavelet(content: Tensor, reference: Tensor) -> Tensor:
    """High frequencies of the content on low frequencies of the reference, all channels at one scale."""
    return content.add_(low_pass(reference.sub_(content), range(WAVELET_STAGES)))


def correct_lab(content: Tensor, reference: Tensor) -> Tensor:
    """The wavelet result with the reference's distribution of CIELAB colours."""
    wanted = reference.clone()
    return match_lab(correct_wavelet(content, reference).clamp_(0, 1), wanted.clamp_(0, 1))


def correct_adain(content: Tensor, reference: Tensor) -> Tensor:
    """Mean and spread of each channel as in the reference (adaptive instance normalisation)."""
    wanted_mean = reference.mean(dim=(1, 2), keepdim=True)
    content.sub_(content.mean(dim=(1, 2), keepdim=True))
    gain = (variance(reference.sub_(wanted_mean)) / variance(content)).sqrt_()
    return content.mul_(gain).add_(wanted_mean)


def variance(centred: Tensor) -> Tensor:
    """Mean square [C, 1, 1] of planes whose mean is 0, kept away from zero."""
    return centred.square().mean(dim=(1, 2), keepdim=True).add_(VARIANCE_FLOOR)
