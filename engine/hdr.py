"""HDR kept: the light of the source with the detail that the network found in its SDR picture.

The network knows SDR only. So it restores the tone-mapped picture, and what it changed is carried over to the source's
light as a gain map does (ISO 21496-1): per channel, light of the result = SDR light of the result × light of the source
/ SDR light of the source. Where the network changes nothing, the source's own codes come back.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .colour_lab import mix_planes
from .frames import check_finite, check_partners, planes_of
from .tone import (
    HLG_A,
    HLG_B,
    HLG_C,
    HLG_GAMMA,
    HLG_PEAK,
    LUMA_2020,
    PQ_PEAK,
    SDR_GAMMA,
    SDR_WHITE,
    luminance,
    nits_to_pq,
    pick_curve,
)

OFFSET = SDR_WHITE / 64  # nits added on both sides, so that black has a quotient; the usual one of gain maps
# BT.2087: linear light in BT.709 primaries to BT.2020 primaries
BT709_TO_2020 = (
    (0.627404, 0.329283, 0.043313),
    (0.069097, 0.919541, 0.011362),
    (0.016391, 0.088013, 0.895595),
)


def keep_light(restored: Tensor, shown: Tensor, codes: Tensor, curve: str) -> Tensor:
    """PQ or HLG codes [T,H,W,3] in 0..1 of the result.

    restored and shown: the SDR result and the SDR picture of the source at its size, codes: the source's own, enlarged;
    all [T,H,W,3] in 0..1. Raises BadFrames for NaN, BadSize for unequal shapes.
    """
    check_partners(restored, shown)
    check_partners(restored, codes)
    to_light, to_curve = pick_curve(curve), {"pq": nits_to_pq, "hlg": nits_to_hlg}[curve]
    peak = HLG_PEAK if curve == "hlg" else PQ_PEAK
    result = torch.empty_like(restored, dtype=torch.float32)
    for number, frame in enumerate(restored):
        check_finite(frame, number)
        gain = (to_light(planes_of(codes[number]).clamp_(0, 1)) + OFFSET) / (sdr_light(shown[number]) + OFFSET)
        light = ((sdr_light(frame) + OFFSET) * gain - OFFSET).clamp_(0, peak)
        result[number] = to_curve(light).clamp_(0, 1).permute(1, 2, 0)
    return result


def sdr_light(frame: Tensor) -> Tensor:
    """Light in nits [3,H,W], BT.2020 primaries, of an SDR frame [H,W,3] in 0..1."""
    return mix_planes(BT709_TO_2020, planes_of(frame).clamp_(0, 1).pow_(SDR_GAMMA)).mul_(SDR_WHITE)


def nits_to_hlg(light: Tensor) -> Tensor:
    """HLG codes of light [3,H,W] in nits on the nominal display (BT.2100, inverse OOTF and OETF)."""
    shown = light / HLG_PEAK
    scene = shown / luminance(shown, LUMA_2020).clamp_(min=1e-9).pow_(1 - 1 / HLG_GAMMA)
    bright = HLG_A * (12 * scene - HLG_B).clamp_(min=1e-9).log_() + HLG_C
    return torch.where(scene <= 1 / 12, (3 * scene).clamp_(min=0).sqrt_(), bright)
