"""Animations keep their times, images stand upright, folders play in order."""

from __future__ import annotations

import zlib
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image
from seedvr2_anywhere import media
from source_clips import read_all

DURATIONS = {"even": [100] * 6, "film": [40] * 6, "uneven": [50, 200, 100, 70, 330, 90]}


def shades(count, size=(60, 40)):
    """Flat pictures of rising brightness with a coloured corner."""
    result = []
    for index in range(count):
        pixels = np.full((size[1], size[0], 3), index * 30 + 20, np.uint8)
        pixels[:8, :8] = (200, 20, 60)
        result.append(Image.fromarray(pixels))
    return result


def save(path, images, durations):
    options = {"lossless": True} if path.suffix == ".webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, **options)
    return path


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
@pytest.mark.parametrize("pace", sorted(DURATIONS))
def test_animations_keep_their_times_and_pictures(tmp_path, suffix, pace):
    durations = DURATIONS[pace]
    images = shades(len(durations))
    reader = media.read(save(tmp_path / f"a.{suffix}", images, durations))
    frames, pts = read_all(reader)
    times = [tick * reader.time_base * 1000 for tick in pts.tolist()]
    assert times == np.cumsum([0, *durations[:-1]]).tolist()
    assert reader.end == Fraction(sum(durations), 1000) == reader.info.duration
    assert reader.info.kind == "animation" and reader.info.is_vfr == (pace == "uneven")
    if pace != "uneven":
        assert reader.rate == Fraction(1000, durations[0])
    expected = np.stack([np.asarray(image) for image in images])
    assert np.abs(frames.astype(int) - expected).max() <= (3 if suffix == "gif" else 0)  # GIF: a palette


def test_hurried_gif_frames_last_as_long_as_browsers_show_them(tmp_path):
    reader = media.read(save(tmp_path / "a.gif", shades(4), [10] * 4))
    assert reader.rate == 10 and reader.info.duration == Fraction(2, 5)
    reader.close()


@pytest.mark.parametrize("suffix", ["png", "webp", "gif"])
def test_animated_opacity_is_delivered(tmp_path, suffix):
    images = []
    for index in range(3):
        pixels = np.zeros((40, 60, 4), np.uint8)
        pixels[:, : 20 + index * 10] = (250, 250, 250, 255)
        images.append(Image.fromarray(pixels))
    path = tmp_path / f"a.{suffix}"
    options = {"disposal": 2} if suffix == "gif" else {"lossless": True, "kmax": 1} if suffix == "webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=100, **options)
    reader = media.read(path, alpha=True)
    assert reader.info.has_alpha
    opacity = np.concatenate([batch[2] for batch in reader])
    assert [int((one > 0).sum()) // 40 for one in opacity] == [20, 30, 40]


def test_a_damaged_animation_keeps_what_came_before(tmp_path):
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)) for _ in range(8)]
    path = save(tmp_path / "a.gif", images, [100] * 8)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 5 // 8])
    reader = media.read(path)
    frames, _ = read_all(reader)
    assert 3 <= len(frames) < 8
    whole = reader.info.frame_count == len(frames)
    assert whole or reader.losses[0].start == Fraction(len(frames), 10)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_as_their_exif_says(tmp_path, orientation):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :20], pixels[20:, 40:] = (250, 10, 10), (10, 250, 10)
    half_turned = np.rot90(pixels, 2)
    upright = [pixels, np.fliplr(pixels), half_turned, np.flipud(pixels), pixels.transpose(1, 0, 2),
               np.rot90(pixels, -1), half_turned.transpose(1, 0, 2), np.rot90(pixels)][orientation - 1]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    reader = media.read(tmp_path / "photo.png")
    frames, pts = read_all(reader)
    assert np.array_equal(frames[0], upright) and pts.tolist() == [0]
    assert reader.info.kind == "image" and reader.size == frames.shape[2:0:-1]


def deep_png(path, pixels):
    """A 16-bit RGB PNG, which Pillow does not write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    parts = [(b"IHDR", width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])),
             (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]  # fmt: skip
    chunks = (
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big") for name, data in parts
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def test_sixteen_bit_images_keep_their_depth(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    frames, _ = read_all(media.read(deep_png(tmp_path / "deep.png", colour)))
    assert frames.dtype == np.uint16 and np.array_equal(frames[0], colour)
    gray = rng.integers(0, 65536, (20, 30)).astype(np.uint16)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    frames, _ = read_all(media.read(tmp_path / "gray.png"))
    assert np.array_equal(frames[0], gray[..., None].repeat(3, -1))
    narrow, _ = read_all(media.read(tmp_path / "deep.png", treatment=media.Treatment(bits=8)))
    assert narrow.dtype == np.uint8 and np.abs(narrow[0].astype(int) * 257 - colour).max() <= 129


KINDS = [("jpg", "RGB"), ("jpg", "L"), ("jpg", "CMYK"), ("bmp", "RGB"), ("tif", "RGB"), ("webp", "RGBA"), ("png", "P"),
         ("png", "LA"), ("png", "1")]  # fmt: skip


@pytest.mark.parametrize(("suffix", "mode"), KINDS)
def test_every_usual_kind_of_image_opens(tmp_path, suffix, mode):
    picture = Image.new("RGB", (33, 21), (255, 255, 255)).convert(mode)
    path = tmp_path / f"one.{suffix}"
    picture.save(path)
    frames, _ = read_all(media.read(path))
    assert frames.shape == (1, 21, 33, 3) and frames.min() >= 252


def test_a_folder_plays_in_natural_order(tmp_path):
    for index, image in enumerate(shades(7)):
        image.save(tmp_path / f"frame_{index * 3}.png")
    (tmp_path / "notes.txt").write_text("no image")
    reader = media.read(tmp_path)
    frames, pts = read_all(reader)
    assert [int(frame[20, 30, 0]) for frame in frames] == [index * 30 + 20 for index in range(7)]
    assert pts.tolist() == list(range(7)) and reader.rate == 24 and reader.info.frame_count == 7
    part, _ = read_all(media.read(tmp_path, media.Selection(skip=2, every=2)))
    assert len(part) == 3 and part[0, 20, 30, 0] == 80


def test_a_folder_survives_odd_members(tmp_path):
    for index, image in enumerate(shades(4)):
        image.save(tmp_path / f"{index}.png")
    shades(1, (30, 20))[0].save(tmp_path / "4.png")
    (tmp_path / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    reader = media.read(tmp_path)
    frames, _ = read_all(reader)
    assert frames.shape == (4, 40, 60, 3)
    assert len(reader.losses) == 1 and "2.png" in reader.losses[0].reason
    assert any("4.png has another size" in note for note in reader.notes)


def test_texts_stored_in_images_are_tags(tmp_path):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("workflow", '{"nodes": []}')
    shades(1)[0].save(tmp_path / "one.png", pnginfo=info)
    assert media.probe(tmp_path / "one.png").workflow == {"workflow": '{"nodes": []}'}
