"""HDR to SDR: PQ or HLG code values in BT.2020 primaries become BT.709 as an ordinary screen shows it.

Light is decoded per ITU-R BT.2100. The brightest channel of each pixel goes through the roll-off of ITU-R BT.2390 (the
EETF) down to 203 nits, which is SDR white here and HDR reference white in BT.2408; all three channels follow by the
same gain, so hue and saturation stay, and shadows and mid-tones keep their light. Colours outside BT.709 move towards
the grey of their own luminance just as far as they must. The result is encoded for a BT.1886 screen (gamma 2.4).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .colour_lab import mix_planes
from .errors import EngineError
from .frames import check_finite, check_frames, planes_of
from .quantize import to_float

# BT.2100 table 4: PQ
PQ_M1, PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
PQ_C1, PQ_C2, PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
PQ_PEAK = 10_000.0  # nits
# BT.2100 table 5: HLG, on its nominal display
HLG_A = 0.17883277
HLG_B, HLG_C = 1 - 4 * HLG_A, 0.55991073
HLG_GAMMA, HLG_PEAK = 1.2, 1000.0

SDR_WHITE = 203.0  # nits, BT.2408 reference white
USUAL_PEAK = 1000.0  # nits most PQ video is mastered for
SDR_GAMMA = 2.4  # BT.1886
LUMA_2020 = (0.2627, 0.6780, 0.0593)
LUMA_709 = (0.2126, 0.7152, 0.0722)
# BT.2087, inverted: linear light in BT.2020 primaries to BT.709 primaries
BT2020_TO_709 = (
    (1.660491, -0.587641, -0.072850),
    (-0.124550, 1.132900, -0.008349),
    (-0.018151, -0.100579, 1.118730),
)


def to_sdr(frames: Tensor, curve: str, peak_nits: float = USUAL_PEAK) -> Tensor:
    """PQ or HLG frames [T, H, W, 3], as uint16 codes or 0..1, as BT.709 frames in 0..1, float32.

    curve: "pq" or "hlg". peak_nits is the brightest light of a PQ master, if its file tells. Raises BadFrames for NaN.
    """
    check_frames(frames)
    to_light = pick_curve(curve)
    peak = HLG_PEAK if curve == "hlg" else min(max(peak_nits, SDR_WHITE), PQ_PEAK)
    result = torch.empty(frames.shape, dtype=torch.float32, device=frames.device)
    for number, frame in enumerate(frames):
        values = to_float(frame)
        check_finite(values, number)
        light = to_light(planes_of(values).clamp_(0, 1))
        shown = fit_gamut(mix_planes(BT2020_TO_709, roll_off(light, peak)))
        result[number] = shown.pow_(1 / SDR_GAMMA).permute(1, 2, 0)
    return result


def pick_curve(curve: str) -> Callable[[Tensor], Tensor]:
    """The function from code values to nits behind a name."""
    curves = {"pq": pq_to_nits, "hlg": hlg_to_nits}
    if curve not in curves:
        raise EngineError(f"Got transfer curve {curve!r}, expected one of {', '.join(curves)}.")
    return curves[curve]


def pq_to_nits(codes: Tensor) -> Tensor:
    """Light in nits of PQ code values 0..1 (BT.2100, EOTF)."""
    root = codes.pow(1 / PQ_M2)
    return ((root - PQ_C1).clamp_(min=0) / (PQ_C2 - PQ_C3 * root)).pow_(1 / PQ_M1).mul_(PQ_PEAK)


def nits_to_pq(nits: Tensor) -> Tensor:
    """PQ code values of light in nits, 0..10000 (BT.2100, inverse EOTF)."""
    root = (nits / PQ_PEAK).pow_(PQ_M1)
    return ((PQ_C1 + PQ_C2 * root) / (1 + PQ_C3 * root)).pow_(PQ_M2)


def hlg_to_nits(codes: Tensor) -> Tensor:
    """Light in nits on the nominal display of HLG planes [3, H, W] in 0..1 (BT.2100, inverse OETF and OOTF)."""
    scene = torch.where(codes <= 0.5, codes.square() / 3, (((codes - HLG_C) / HLG_A).exp() + HLG_B) / 12)
    return scene * luminance(scene, LUMA_2020).pow_(HLG_GAMMA - 1).mul_(HLG_PEAK)


def roll_off(light: Tensor, peak: float) -> Tensor:
    """Planes [3, H, W] in nits, each pixel scaled so that its brightest channel fits under SDR white, as 0..1."""
    brightest = light.amax(dim=0).clamp_(max=peak)
    gain = pq_to_nits(compress(nits_to_pq(brightest), peak)) / light.amax(dim=0).clamp_(min=1e-6)
    return (light * gain).div_(SDR_WHITE).clamp_(0, 1)


def compress(codes: Tensor, peak: float) -> Tensor:
    """PQ codes up to the peak's onto codes up to SDR white's, straight, then bent (BT.2390 EETF, black at 0)."""
    top = nits_to_pq(torch.tensor([SDR_WHITE, peak], dtype=torch.float64)).tolist()
    highest = top[0] / top[1]
    knee = 1.5 * highest - 0.5
    if knee >= 1:
        return codes
    share = codes / top[1]
    t = (share - knee) / (1 - knee)
    square, cube = t.square(), t.pow(3)
    bend = (2 * cube - 3 * square + 1) * knee + (cube - 2 * square + t) * (1 - knee) + (3 * square - 2 * cube) * highest
    return torch.where(share < knee, share, bend).mul_(top[1])


def fit_gamut(light: Tensor) -> Tensor:
    """Linear BT.709 planes [3, H, W], pixels outside 0..1 pulled towards grey of equal luminance until they fit."""
    grey = luminance(light, LUMA_709).clamp_(0, 1)
    lowest, highest = light.amin(dim=0), light.amax(dim=0)
    room_below = torch.where(lowest < 0, grey / (grey - lowest), 1.0)
    room_above = torch.where(highest > 1, (1 - grey) / (highest - grey), 1.0)
    return torch.lerp(grey.expand_as(light), light, torch.minimum(room_below, room_above)).clamp_(0, 1)


def luminance(light: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """Weighted sum [H, W] of linear planes [3, H, W]."""
    return mix_planes((weights,), light)[0]
