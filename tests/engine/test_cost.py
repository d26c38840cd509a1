"""Arithmetic and time against published counts."""

from __future__ import annotations

import pytest
from seedvr2_anywhere.benchmarks.toy_weights import REAL_DIT
from seedvr2_anywhere.engine.cost import clip_flops, dit_flops, frame_cost, say_time, time_range, vae_flops_per_pixel
from seedvr2_anywhere.engine.windows import Windowing, windowing_for
from seedvr2_anywhere.models.vae_config import VAEConfig

# latent grid → TFLOP of one call, linear and attention together, for 3B and 7B
CALLS = [
    ((1, 90, 160), 18.3 + 0.55, 29.4 + 0.75),
    ((2, 90, 160), 36.5 + 1.10, 58.7 + 1.49),
    ((6, 90, 160), 109.6 + 5.36, 176.1 + 7.24),
    ((12, 136, 240), 497.0 + 36.4, 798.4 + 49.1),
]


@pytest.mark.parametrize(("grid", "small", "large"), CALLS)
def test_a_transformer_call_costs_what_is_published(grid, small, large):
    assert dit_flops(REAL_DIT["3b"], grid, 58) / 1e12 == pytest.approx(small, rel=0.01)
    assert dit_flops(REAL_DIT["7b"], grid, 58) / 1e12 == pytest.approx(large, rel=0.01)


def test_the_vae_costs_what_its_layers_do():
    encode, decode = vae_flops_per_pixel(VAEConfig())
    assert encode == pytest.approx(8.92e6, rel=0.02)
    assert 18.0e6 < decode < 19.2e6, "the plain decoder would take 23.55e6"


def test_a_frame_at_1080p_is_mostly_the_vae():
    cost = frame_cost(REAL_DIT["3b"], VAEConfig(), (1088, 1920), windowing_for(21)[0], 58)
    assert cost.encode / 1e12 == pytest.approx(19.2, rel=0.03)
    assert cost.decode / 1e12 == pytest.approx(39.2, rel=0.03)
    assert cost.total == cost.encode + cost.denoise + cost.decode
    assert cost.decode > cost.encode > cost.denoise


def test_overlap_guidance_and_single_pictures_cost_more():
    def denoise(windowing: Windowing, guided: bool = False) -> float:
        return frame_cost(REAL_DIT["3b"], VAEConfig(), (720, 1280), windowing, 58, guided).denoise

    assert denoise(Windowing(6, 2)) == pytest.approx(1.5 * denoise(Windowing(6, 0)))
    assert denoise(Windowing(6, 2), guided=True) == 2 * denoise(Windowing(6, 2))
    assert denoise(windowing_for(1)[0]) > 2 * denoise(Windowing(6, 2))


@pytest.mark.parametrize("batch_size", [1, 17, 45])
def test_a_long_clip_costs_its_frames_and_a_photo_its_one_window(batch_size):
    windowing, network = windowing_for(batch_size)[0], (REAL_DIT["3b"], VAEConfig(), (720, 1280))
    per_frame = frame_cost(*network, windowing, 58)
    whole = clip_flops(*network, windowing, 2000, 58)
    assert whole == pytest.approx(2000 * per_frame.total, rel=0.03)
    photo = clip_flops(*network, windowing, 1, 58)
    assert photo == per_frame.encode + per_frame.decode + dit_flops(REAL_DIT["3b"], (1, 90, 160), 58)


def test_time_follows_the_rate():
    least, most = time_range(60e12, 1e12)
    assert least < 60 < most
    assert time_range(120e12, 2e12) == (least, most)


WORDS = [
    ((0.2, 0.4), "about 0 s"),
    ((40, 75), "40 to 75 s"),
    ((180, 340), "3 to 6 min"),
    ((5400, 10000), "1.5 to 2.8 h"),
]


@pytest.mark.parametrize(("seconds", "words"), WORDS)
def test_ranges_are_said_in_words(seconds, words):
    assert say_time(seconds) == words
