"""CIELAB (sRGB, D65) and exact histogram matching, for the colour method of that name."""

from __future__ import annotations

import torch
from torch import Tensor

# IEC 61966-2-1: linear light to CIE XYZ, and back
RGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
XYZ_TO_RGB = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)
WHITE_X, WHITE_Z = 0.95047, 1.08883  # D65 with Y = 1
# CIE 15: the cube root gives way to a line below EPSILON
EPSILON = (6 / 29) ** 3
KAPPA = (29 / 3) ** 3
LUMA_KEPT = 0.8  # share of the content's own lightness: the rest follows the reference's distribution


def match_lab(content: Tensor, reference: Tensor) -> Tensor:
    """Give planes [3, H, W] in 0..1 the reference's distribution of a and b, and a fifth of its distribution of L."""
    lab, wanted = rgb_to_lab(content), rgb_to_lab(reference)
    for axis in (1, 2):
        lab[axis] = match_histogram(lab[axis], wanted[axis])
    lab[0].lerp_(match_histogram(lab[0], wanted[0]), 1 - LUMA_KEPT)
    return lab_to_rgb(lab)


def match_histogram(source: Tensor, reference: Tensor) -> Tensor:
    """Replace the k-th smallest of the source by the k-th smallest of the reference; shape of the source.

    Unequal counts take index floor(k·(n_ref − 1)/(n_src − 1)). Equal values keep their order, so every device agrees.
    """
    order = sort_values(source.flatten())[1]
    ranked = sort_values(reference.flatten())[0]
    count, available = order.numel(), ranked.numel()
    if count != available:
        ranks = torch.arange(count, device=ranked.device) * (available - 1) // max(1, count - 1)
        ranked = ranked[ranks]
    return torch.empty_like(ranked).scatter_(0, order, ranked).view(source.shape)


def sort_values(values: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted float32 values [N] and where each came from; sorts their bits as integers, several times faster."""
    keys, order = torch.sort(flip_negative(values.contiguous().view(torch.int32)), stable=True)
    return flip_negative(keys).view(torch.float32), order


def flip_negative(bits: Tensor) -> Tensor:
    """Bits of float32 numbers as integers of the same order, and back: below zero larger bits mean smaller numbers."""
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def rgb_to_lab(planes: Tensor) -> Tensor:
    """Gamma-encoded sRGB planes [3, H, W] in 0..1 as L 0..100, a and b."""
    linear = torch.where(planes > 0.04045, ((planes + 0.055) / 1.055).pow(2.4), planes / 12.92)
    xyz = mix_planes(RGB_TO_XYZ, linear)
    xyz[0].div_(WHITE_X)
    xyz[2].div_(WHITE_Z)
    x, y, z = torch.where(xyz > EPSILON, xyz.pow(1 / 3), (KAPPA * xyz + 16) / 116)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)))


def lab_to_rgb(lab: Tensor) -> Tensor:
    """L, a and b planes [3, H, W] as gamma-encoded sRGB in 0..1; colours outside sRGB are clipped."""
    y = (lab[0] + 16) / 116
    roots = torch.stack((y + lab[1] / 500, y, y - lab[2] / 200))
    xyz = torch.where(roots > EPSILON ** (1 / 3), roots.pow(3), (116 * roots - 16) / KAPPA)
    xyz[0].mul_(WHITE_X)
    xyz[2].mul_(WHITE_Z)
    linear = mix_planes(XYZ_TO_RGB, xyz).clamp_(0, 1)
    return torch.where(linear > 0.0031308, 1.055 * linear.pow(1 / 2.4) - 0.055, 12.92 * linear)


def mix_planes(matrix: tuple[tuple[float, ...], ...], planes: Tensor) -> Tensor:
    """Multiply the channels of planes [3, H, W] by a matrix [N, 3] → [N, H, W], in full float32 on every device."""
    red, green, blue = planes
    mixed = planes.new_empty((len(matrix), *red.shape))
    for row, target in zip(matrix, mixed, strict=True):
        torch.mul(red, row[0], out=target).add_(green, alpha=row[1]).add_(blue, alpha=row[2])
    return mixed
