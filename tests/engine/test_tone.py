"""HDR code values mean the light BT.2100 says, and become SDR without clipping, tint or numbers that are none."""

from __future__ import annotations

import pytest
import torch
from seedvr2_anywhere.engine import tone
from seedvr2_anywhere.engine.errors import BadFrames, EngineError
from torch import Tensor


def grey(value: float) -> Tensor:
    return torch.full((1, 1, 1, 3), value)


# BT.2100 PQ, and the levels BT.2408 names
PQ_LIGHT = [(0.0, 0.0), (0.5081, 100), (0.5807, 203), (0.7518, 1000), (0.9026, 4000), (1.0, 10_000)]


@pytest.mark.parametrize(("code", "nits"), PQ_LIGHT)
def test_pq_codes_mean_their_light_and_back(code, nits):
    assert tone.pq_to_nits(torch.tensor([code], dtype=torch.float64)).item() == pytest.approx(nits, rel=2e-3)
    assert tone.nits_to_pq(torch.tensor([nits], dtype=torch.float64)).item() == pytest.approx(code, abs=1e-4)


# BT.2100 HLG on a 1000-nit display: 1/12 of scene light at half code, reference white at three quarters
HLG_LIGHT = [(0.0, 0.0), (0.5, 1000 * (1 / 12) ** 1.2), (0.75, 203), (1.0, 1000)]


@pytest.mark.parametrize(("code", "nits"), HLG_LIGHT)
def test_hlg_codes_mean_their_light(code, nits):
    assert tone.hlg_to_nits(torch.full((3, 1, 1), code)).flatten().tolist() == pytest.approx([nits] * 3, rel=2e-3)


def test_hlg_halves_meet():
    below, above = (tone.hlg_to_nits(torch.full((3, 1, 1), 0.5 + step)) for step in (-1e-6, 1e-6))
    torch.testing.assert_close(below, above, rtol=1e-4, atol=0)


@pytest.mark.parametrize("peak", [203.0, 400.0, 1000.0, 4000.0, 10_000.0])
def test_the_roll_off_ends_at_white_and_leaves_the_dark_alone(peak):
    nits = torch.linspace(0, peak, 5001, dtype=torch.float64)
    shown = tone.pq_to_nits(tone.compress(tone.nits_to_pq(nits), peak))
    assert shown[-1].item() == pytest.approx(203, rel=1e-6)
    assert (shown.diff() > 0).all()
    assert (shown <= nits * (1 + 1e-9) + 1e-6).all()
    highest, top = tone.nits_to_pq(torch.tensor([203.0, peak], dtype=torch.float64)).tolist()
    dark = tone.nits_to_pq(nits) < (1.5 * highest / top - 0.5) * top - 1e-9
    torch.testing.assert_close(shown[dark], nits[dark], rtol=1e-9, atol=1e-9)


CURVES = [("pq", 0.5807), ("hlg", 0.75)]


@pytest.mark.parametrize(("curve", "white"), CURVES)
def test_greys_stay_grey_and_keep_their_order(curve, white):
    codes = torch.linspace(0, 1, 1001).view(1, 1, -1, 1).expand(1, 1, 1001, 3)
    shown = tone.to_sdr(codes, curve)[0, 0]
    assert (shown.amax(dim=1) - shown.amin(dim=1)).max() < 1e-5
    assert (shown[:, 0].diff() >= -1e-6).all()
    assert shown[0, 0] == 0 and shown[-1, 0].item() == pytest.approx(1, abs=1e-4)
    # reference white lands a little below SDR white and leaves room for highlights
    assert 0.85 < tone.to_sdr(grey(white), curve)[0, 0, 0, 0] < 0.95


def test_mid_tones_keep_their_light():
    code = tone.nits_to_pq(torch.tensor(50.0)).item()
    assert tone.to_sdr(grey(code), "pq").flatten().tolist() == pytest.approx([(50 / 203) ** (1 / 2.4)] * 3, abs=1e-4)


def test_the_matrix_keeps_white_and_luminance():
    matrix = torch.tensor(tone.BT2020_TO_709, dtype=torch.float64)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-5, rtol=0)
    kept = torch.tensor(tone.LUMA_709, dtype=torch.float64) @ matrix
    torch.testing.assert_close(kept, torch.tensor(tone.LUMA_2020, dtype=torch.float64), atol=2e-4, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_the_gamut_keeps_luminance_and_what_fits_already(seed):
    generator = torch.Generator().manual_seed(seed)
    light = tone.mix_planes(tone.BT2020_TO_709, torch.rand(3, 64, 64, generator=generator))
    shown = tone.fit_gamut(light)
    assert shown.min() >= 0 and shown.max() <= 1
    kept, wanted = (tone.luminance(planes, tone.LUMA_709) for planes in (shown, light))
    torch.testing.assert_close(kept, wanted, atol=1e-5, rtol=0)
    inside = (light.amin(dim=0) >= 0) & (light.amax(dim=0) <= 1)
    torch.testing.assert_close(shown[:, inside], light[:, inside], atol=1e-6, rtol=0)


@pytest.mark.parametrize("curve", ["pq", "hlg"])
def test_pure_and_extreme_colours_give_numbers_in_range(curve):
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1e-7, 0.5, 1.0, 9.0])] * 3).view(1, 6, 36, 3)
    shown = tone.to_sdr(corners, curve)
    assert shown.isfinite().all()
    assert shown.min() >= 0 and shown.max() <= 1


@pytest.mark.parametrize("curve", ["pq", "hlg"])
def test_codes_of_sixteen_bits_are_read_as_their_values(curve):
    codes = torch.randint(0, 65536, (2, 3, 5, 3), generator=torch.Generator().manual_seed(0))
    assert tone.to_sdr(codes.to(torch.uint16), curve).equal(tone.to_sdr(codes / 65535, curve))


def test_a_brighter_master_is_shown_with_more_room_above():
    code = tone.nits_to_pq(torch.tensor(800.0)).item()
    shown = [tone.to_sdr(grey(code), "pq", peak_nits=peak)[0, 0, 0, 0].item() for peak in (800.0, 1000.0, 4000.0)]
    assert shown == sorted(shown, reverse=True) and shown[0] == pytest.approx(1, abs=1e-4)


def test_an_unknown_curve_and_numbers_that_are_none_are_refused():
    with pytest.raises(EngineError, match="expected one of pq, hlg"):
        tone.to_sdr(grey(0.5), "slog3")
    with pytest.raises(BadFrames, match="Frame 0"):
        tone.to_sdr(grey(float("nan")), "pq")
