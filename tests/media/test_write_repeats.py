"""The same frames make the same file again, however an encoder's threads take turns."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from seedvr2_anywhere import media

SIZE, FRAMES, TIMES = (1280, 720), 60, 4  # from this size on x264's threads have time to disagree


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Waves moving under moving grain."""
    width, height = SIZE
    grain = np.random.default_rng(2).normal(0, 12, (height, width + FRAMES, 1)).astype(np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [128 + 58 * np.sin((x + k) / 17)[..., None] + 39 * np.cos((y - k) / 11)[..., None] for k in range(FRAMES)]
    shades = np.array([1, 0.9, 0.8], np.float32)
    return [
        np.clip((wave + grain[:, k : k + width]) * shades, 0, 255).astype(np.uint8)[None]
        for k, wave in enumerate(waves)
    ]


@pytest.mark.parametrize("encoding", [media.Encoding("intermediate"), media.Encoding("MP4 H.264", quality="small")])
def test_the_same_frames_make_the_same_packets(frames, encoding, tmp_path):
    made = []
    for number in range(TIMES):
        path = tmp_path / f"{number}.mp4"
        batches = ((frame, np.array([index])) for index, frame in enumerate(frames))
        media.write(path, batches, time_base=Fraction(1, 24), encoding=encoding)
        with av.open(str(path)) as container:
            made.append([bytes(packet) for packet in container.demux(video=0) if packet.size])
    assert len(made[0]) == FRAMES
    assert [one == made[0] for one in made] == [True] * TIMES
