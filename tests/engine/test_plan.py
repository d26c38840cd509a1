"""Plans: the result depends on settings and class of card only; memory decides how, or says no."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from seedvr2_anywhere.benchmarks.toy_weights import REAL_DIT, dit_config
from seedvr2_anywhere.engine.errors import EngineError
from seedvr2_anywhere.engine.plan import (
    DEVICE_MARGIN,
    GIB,
    LEVELS,
    PROCESSOR_LEVELS,
    PUSHES,
    Card,
    Clip,
    DoesNotFit,
    Outline,
    Room,
    choose_neutral,
    choose_semantic,
    class_of,
    describe,
    make_plan,
    predict,
    shrink,
)
from seedvr2_anywhere.engine.windows import Windowing
from seedvr2_anywhere.models.vae_config import VAEConfig

SMALL = Outline("embedded", dit_config("3b", 256), 60 << 20, VAEConfig(widths=(32, 32, 64, 64)))
LARGE = Outline("seedvr2_3b_fp16", REAL_DIT["3b"], int(6.8e9), VAEConfig())
CLIP = Clip((144, 256), (288, 512), (304, 512), 240)
HD = Clip((540, 960), (1080, 1920), (1104, 1920), 1)
PLENTY = Room(1 << 40, 1 << 40)


def card(gib: float, kind: str = "cuda", bf16: bool = True) -> Card:
    return Card(f"{gib} GB card", kind, int(gib * GIB), bf16)


CPU = card(16, "cpu", bf16=False)

# total memory, padded size → latents of a window, number format
CHOICES = [
    (card(79.2), HD.padded, 21),
    (card(23.6), HD.padded, 12),
    (card(11.8), HD.padded, 12),
    (card(7.6), HD.padded, 9),
    (card(5.8), HD.padded, 6),
    (card(2.0), HD.padded, 5),
    (card(23.6), (2176, 3840), 12),
    (card(7.6), (2176, 3840), 6),
    (CPU, HD.padded, 6),
]


@pytest.mark.parametrize(("device", "size", "latents"), CHOICES)
def test_the_window_follows_from_the_class_of_card(device, size, latents):
    semantic, remarks = choose_semantic(device, LARGE, size)
    assert semantic.windowing.length == latents, f"{semantic.windowing} for {class_of(device).name}"
    assert semantic.precision == ("bf16" if device.computes_bf16 else "fp32")
    assert not remarks


def test_cards_of_one_class_get_one_plan_whatever_is_free():
    plans = [make_plan(card(total), SMALL, CLIP, Room(free << 30, 64 << 30)) for total, free in ((22.5, 4), (31.8, 30))]
    assert plans[0].semantic == plans[1].semantic


def test_settings_of_the_user_come_first():
    semantic, remarks = choose_semantic(card(24), SMALL, CLIP.padded, batch_size=7, precision="fp32")
    assert semantic.windowing == Windowing(3, 1)
    assert semantic.precision == "fp32"
    assert "7" in remarks[0] and "9" in remarks[0]
    with pytest.raises(EngineError, match="precision 'int8'"):
        choose_semantic(card(24), SMALL, CLIP.padded, precision="int8")


@pytest.fixture(scope="module")
def semantic():
    return choose_semantic(card(8), SMALL, CLIP.padded)[0]


@pytest.fixture(scope="module")
def peaks(semantic):
    """Device peak of each level."""
    return [predict(card(8), SMALL, CLIP, semantic, level).device for level in LEVELS]


def test_levels_use_less_and_less(peaks):
    assert peaks[0] == max(peaks)
    assert peaks[-1] == min(peaks) < peaks[0] / 2


def test_the_fastest_level_that_fits_is_taken(semantic, peaks):
    for free in (peaks[0], peaks[3], min(peaks)):
        neutral, found = choose_neutral(card(8), SMALL, CLIP, semantic, Room(free + DEVICE_MARGIN, 64 * GIB))
        first = next(level for level, peak in zip(LEVELS, peaks, strict=True) if peak <= free)
        assert replace(neutral, push=first.push) == first
        assert found.device <= free


def test_what_fits_nowhere_is_refused_with_sizes_and_a_remedy(semantic, peaks):
    for room in (Room(min(peaks) + DEVICE_MARGIN - 1, 64 * GIB), Room(64 * GIB, 1 << 20)):
        with pytest.raises(DoesNotFit, match=r"512 × 288 .*needs at least .*GiB on 8 GB card.*smaller new_resolution"):
            choose_neutral(card(8), SMALL, CLIP, semantic, room)


def test_state_on_the_host_is_counted_there(semantic):
    on_host = next(level for level in LEVELS if level.state == "host")
    on_device = replace(on_host, state="device")
    here, there = (predict(card(8), SMALL, CLIP, semantic, level) for level in (on_device, on_host))
    moved = there.host - here.host
    assert moved > 0
    assert here.device - there.device == pytest.approx(moved, rel=0.5)


@pytest.mark.parametrize("place", ["device", "host"])
def test_a_state_is_counted_once_in_what_a_part_needs(semantic, place):
    """Beside the VAE's weights each half needs what it works with and its state, if that is on the card."""
    level = replace(next(level for level in LEVELS if level.state == place), weights="streamed")
    peaks = predict(card(8), SMALL, CLIP, semantic, level)
    encoder, decoder = peaks.needs["encoder"], peaks.needs["decoder"]
    assert (encoder.state > 0, decoder.state > 0) == (place == "device",) * 2
    assert min(encoder.working, decoder.working) > 0
    vae = peaks.device - max(encoder.working, decoder.working) - encoder.state - decoder.state
    assert 0 <= vae < 100 << 20, "the weights of the small VAE are left"


def test_the_processor_has_host_memory_only(semantic):
    plan = make_plan(CPU, SMALL, CLIP, Room(0, 16 * GIB))
    assert plan.peaks.device == 0
    assert plan.peaks.host > SMALL.dit_bytes
    assert plan.neutral in {replace(level, push=push) for level in PROCESSOR_LEVELS for push in PUSHES}
    with pytest.raises(DoesNotFit, match="main memory"):
        make_plan(CPU, SMALL, CLIP, Room(0, 64 << 20))


def test_out_of_memory_shrinks_the_neutral_half_first_and_the_window_last():
    plan = make_plan(card(24), SMALL, CLIP, PLENTY)
    seen, later = [plan], False
    while not later:
        plan, later = shrink(plan, card(24), SMALL, CLIP)
        seen.append(plan)
    for before, after in pairwise(seen[:-1]):
        assert after.semantic == before.semantic
        assert after.peaks.device <= 0.9 * before.peaks.device
    assert len(seen) > 3
    assert seen[-1].semantic.windowing.length < seen[0].semantic.windowing.length
    assert "from the next shot" in seen[-1].remarks[-1]


def test_shrinking_ends_with_a_refusal():
    plan = make_plan(CPU, SMALL, CLIP, PLENTY)
    with pytest.raises(DoesNotFit, match="even that was too much"):
        for _ in range(100):
            plan, _later = shrink(plan, CPU, SMALL, CLIP)


def test_the_line_says_sizes_model_windows_and_peaks():
    plan = make_plan(card(24), SMALL, CLIP, PLENTY, batch_size=7)
    line = describe(plan, CLIP)
    for part in ("256 × 144 → 512 × 288", "240 frames", "embedded in bf16", "exact", "windows of 9 frames sharing 4",
                 f"{plan.peaks.device / GIB:.1f} GiB on the card", f"{plan.peaks.host / GIB:.1f} GiB of main memory",
                 "batch_size 7 works as 9"):  # fmt: skip
        assert part in line, f"{part!r} is not in {line!r}"
    assert "\n" not in line


def test_a_smaller_result_is_said_and_pictures_are_named():
    clip = replace(CLIP, target=(72, 128), padded=(96, 128), frames=1)
    line = describe(make_plan(CPU, SMALL, clip, PLENTY, batch_size=1), clip)
    assert "smaller than the source" in line
    assert "1 frame;" in line
    assert "one by one" in line


def test_1080p_with_the_3b_fits_a_card_of_12_gb():
    plan = make_plan(card(11.8), LARGE, HD, Room(11 * GIB, 48 * GIB))
    assert plan.peaks.device + DEVICE_MARGIN <= 11 * GIB
    assert plan.neutral.state == "host"
    print(describe(plan, HD))
