"""Codes are the nearest, or dithered so that their mean is the value; the same on every run, batch and device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from seedvr2_anywhere.engine.errors import BadFrames
from seedvr2_anywhere.engine.quantize import TILE, noise_tile, to_codes, to_float

KINDS = [(torch.uint8, 255), (torch.uint16, 65535)]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


@pytest.mark.parametrize(("dtype", "highest"), KINDS)
@pytest.mark.parametrize("dither", [True, False])
def test_every_code_survives_the_way_to_floats_and_back(dtype, highest, dither):
    codes = torch.arange(highest + 1).to(dtype).view(1, 256, -1, 1)
    floats = to_float(codes)
    assert floats.min() == 0 and floats.max() == 1
    for frame in range(8):
        assert to_codes(floats, dtype, first_frame=frame, dither=dither).equal(codes)


@pytest.mark.parametrize(("dtype", "highest"), KINDS)
def test_numpy_codes_are_read_alike(dtype, highest):
    codes = np.array([0, 1, 77, highest]).astype(str(dtype).removeprefix("torch."))
    assert to_float(codes).tolist() == pytest.approx([0, 1 / highest, 77 / highest, 1])


def test_flipped_and_read_only_arrays_are_read():
    codes = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    wanted = to_float(codes[:, ::-1].copy())
    codes.flags.writeable = False
    assert to_float(codes[:, ::-1]).equal(wanted)


def test_floats_stay_floats():
    frames = torch.tensor([-0.5, 0.25, 1.5])
    assert to_float(frames).equal(frames)
    assert to_float(frames.double().numpy()).dtype == torch.float32


@pytest.mark.parametrize(("dtype", "highest"), KINDS)
def test_without_dither_codes_are_the_nearest(dtype, highest):
    values = torch.linspace(0, 1, 10_007).view(1, 1, -1, 1)
    error = to_codes(values, dtype, dither=False).to(torch.float32) - values * highest
    assert error.abs().max() <= 0.5 + highest * 1e-7
    assert abs(error.mean()) < 0.01, f"mean error {error.mean():.4f} of a step"


LEVELS = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 100.3, 200.5, 254.1, 254.6, 255.0]


@pytest.mark.parametrize("level", LEVELS)
def test_dithered_codes_average_to_the_value(level):
    codes = to_codes(torch.full((6, 200, 300, 3), level / 255)).to(torch.float64)
    share = level % 1
    limit = (
        5 * (share * (1 - share) / codes.numel()) ** 0.5 + 3e-4
    )  # five standard errors, and the width of a noise step
    assert abs(codes.mean() - level) < limit, f"mean {codes.mean():.5f}, wanted {level} ± {limit:.5f}"
    assert codes.max() - codes.min() <= 1


def test_a_ramp_is_bright_enough_to_a_hundredth_of_a_step():
    ramp = torch.linspace(0, 1, 1920).expand(1, 256, 1920).unsqueeze(-1)
    error = to_codes(ramp).to(torch.float32) - 255 * ramp
    assert abs(error.mean()) < 0.01


def test_noise_is_even_and_unrelated_between_neighbours_frames_and_channels():
    tiles = torch.stack([noise_tile(frame, 3) for frame in range(4)]).double()
    assert tiles.abs().max() < 0.5
    counts = torch.histc(tiles, bins=16, min=-0.5, max=0.5) / tiles.numel()
    assert (counts - 1 / 16).abs().max() < 0.001, f"{counts}"
    limit = 5 / TILE  # five standard errors of a correlation over TILE² samples
    for axis in (1, 2):
        assert abs(12 * (tiles * tiles.roll(1, axis)).mean()) < limit / 3
    unrelated = torch.corrcoef(tiles.permute(0, 3, 1, 2).reshape(12, -1)) - torch.eye(12, dtype=torch.float64)
    assert unrelated.abs().max() < limit, f"largest correlation {unrelated.abs().max():.4f}"


def test_codes_of_a_frame_do_not_depend_on_its_batch():
    frames = torch.rand(5, 300, 280, 3, generator=torch.Generator().manual_seed(0))
    whole = to_codes(frames, first_frame=7)
    assert whole.equal(torch.cat([to_codes(frames[:2], first_frame=7), to_codes(frames[2:], first_frame=9)]))
    assert not whole[:1].equal(to_codes(frames[:1], first_frame=8))


@pytest.mark.parametrize("first_frame", [2**31 - 1, 2**31, 2**40])
def test_very_late_frames_have_dither_too(first_frame):
    codes = to_codes(torch.full((1, 64, 64, 3), 0.5), first_frame=first_frame).to(torch.float32)
    assert codes.mean().item() == pytest.approx(127.5, abs=0.03)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (257, 3), (3, 513)])
@pytest.mark.parametrize("extreme", [-1e30, -0.001, 1.001, 1e30])
@pytest.mark.parametrize(("dtype", "highest"), KINDS)
def test_values_beyond_range_are_clamped(size, extreme, dtype, highest):
    codes = to_codes(torch.full((1, *size, 3), extreme), dtype)
    assert codes.dtype == dtype
    assert (codes.to(torch.int64) == (highest if extreme > 1 else 0)).all()


def test_values_that_are_not_numbers_are_refused():
    frames = torch.zeros(2, 4, 4, 3)
    frames[1, 2, 2, 0] = float("nan")
    with pytest.raises(BadFrames, match="Frame 1"):
        to_codes(frames)


def test_other_kinds_of_codes_are_refused():
    with pytest.raises(BadFrames, match=r"expected torch\.uint8 or torch\.uint16"):
        to_codes(torch.zeros(1, 2, 2, 3), torch.int32)


@pytest.mark.parametrize("device", DEVICES)
def test_devices_agree_bit_for_bit(device):
    frames = torch.rand(2, 300, 280, 3, generator=torch.Generator().manual_seed(0))
    known = to_codes(frames, first_frame=3)
    assert to_codes(frames.to(device), first_frame=3).cpu().equal(known)
    assert to_codes(frames.to(device), torch.uint16).cpu().equal(to_codes(frames, torch.uint16))


def plain_mix(value: int) -> int:
    """The mixer in unsigned arithmetic of 32 bits."""
    value = ((value ^ value >> 16) * 0x7FEB352D) % 2**32
    value = ((value ^ value >> 15) * 0x846CA68B) % 2**32
    return value ^ value >> 16


@pytest.mark.parametrize("frame", [0, 5, 2**31 + 9])
def test_dither_is_the_function_of_frame_and_position_written_out(frame):
    tile = noise_tile(frame, 3)
    for row, column, channel in ((0, 0, 0), (1, 2, 0), (255, 254, 2), (17, 200, 1)):
        place = (row * 73856093) ^ (column * 19349663)
        mixed = plain_mix((place ^ plain_mix((channel * 83492791 + 4 * frame) % 2**32)) % 2**32)
        assert tile[row, column, channel].item() == (mixed % 4096 + 0.5) / 4096 - 0.5
