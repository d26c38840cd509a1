"""What is said before a run: sizes, time, disk, and a warning where it would take half a day."""

from __future__ import annotations

from dataclasses import replace

import pytest
from seedvr2_anywhere.benchmarks.toy_weights import dit_config
from seedvr2_anywhere.engine.machine import Machine, card_of, limited, machine_of
from seedvr2_anywhere.engine.outlook import foresee
from seedvr2_anywhere.engine.plan import GIB, Card, Outline, Room
from seedvr2_anywhere.engine.speed import Speed, Speeds, probe
from seedvr2_anywhere.engine.wish import Wish
from seedvr2_anywhere.models.vae_config import VAEConfig

OUTLINE = Outline("embedded", dit_config("3b", 128), 20 << 20, VAEConfig(widths=(32, 32, 64, 64), encoder_blocks=1))
CPU = Card("the processor", "cpu", 16 * GIB, False)
MACHINE = Machine(CPU, lambda: Room(0, 12 * GIB))
WISH = Wish(new_resolution=128)


def outlook(frames: int | None = 240, speed: Speed | None = None):
    return foresee((64, 96), frames, WISH, OUTLINE, MACHINE, speed=speed)


def test_sizes_disk_and_time_are_named():
    seen = outlook(speed=Speed(1e11))
    assert seen.clip.target == (128, 192)
    assert "96 × 64 → 192 × 128, 240 frames" in seen.line
    assert "peak" in seen.line
    assert seen.seconds and seen.seconds[0] < seen.seconds[1]
    assert f"{seen.disk / 1e9:.2f} GB" in seen.costs
    assert not seen.warning


def test_time_grows_with_frames_and_falls_with_speed():
    once, twice = (outlook(frames, Speed(1e11)).seconds for frames in (240, 480))
    fast = outlook(240, Speed(2e11)).seconds
    assert once and twice and fast
    assert twice[1] == pytest.approx(2 * once[1], rel=0.05)
    assert fast[1] == pytest.approx(once[1] / 2)


def test_a_doubtful_speed_makes_a_wider_range():
    sure, doubtful = (outlook(speed=Speed(1e11, doubt)).seconds for doubt in (1.0, 2.0))
    assert sure and doubtful
    assert doubtful[0] == pytest.approx(sure[0] / 2)
    assert doubtful[1] == pytest.approx(2 * sure[1])


@pytest.mark.parametrize(("frames", "speed"), [(None, Speed(1e11)), (240, None)])
def test_what_is_not_known_is_called_so(frames, speed):
    assert "Time unknown" in outlook(frames, speed).costs


def test_half_a_day_is_said_before_it_starts():
    seen = outlook(2_000_000, Speed(1e11))
    assert "more than 12 hours" in seen.warning
    assert seen.lines[-1] == seen.warning


def test_measured_speeds_are_remembered_by_card_model_and_precision(tmp_path):
    speeds = Speeds(tmp_path)
    assert speeds.known(CPU, OUTLINE, "fp32") is None
    speeds.learn(CPU, OUTLINE, "fp32", 4e11, 2.0)
    speeds.learn(CPU, OUTLINE, "fp32", 8e11, 2.0)
    known = Speeds(tmp_path).known(CPU, OUTLINE, "fp32")
    assert known == Speed(3e11)
    for other in ((replace(CPU, name="x"), OUTLINE, "fp32"), (CPU, replace(OUTLINE, name="x"), "fp32"),
                  (CPU, OUTLINE, "bf16")):  # fmt: skip
        assert speeds.known(*other) is None
    (tmp_path / "speeds.json").write_text("[1")
    assert speeds.known(CPU, OUTLINE, "fp32") is None


def test_a_probe_measures_by_the_clock_it_is_given():
    ticks = iter(range(100))
    found = probe(OUTLINE, "cpu", "fp32", clock=lambda: float(next(ticks)))
    assert found.doubt > 1
    assert found.flops_per_second == pytest.approx(2 * 9 * 32**2 * 128**2)


def test_the_limit_of_the_user_counts_as_what_is_free():
    assert limited(Room(24 * GIB, GIB), 8.5) == Room(int(8.5 * GIB), GIB)
    assert limited(Room(4 * GIB, GIB), 8.5) == limited(Room(4 * GIB, GIB), 0) == Room(4 * GIB, GIB)


def test_this_machine_describes_itself():
    machine = machine_of("cpu")
    assert machine.card == card_of("cpu")
    assert 0 < machine.room().host <= machine.card.total_bytes
    assert machine.room().device == 0
