"""tools/upscale.py: clips and pictures without ComfyUI, stopped and killed runs that go on, exit codes, estimates."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from seedvr2_anywhere import media
from seedvr2_anywhere.engine.job import MANIFEST
from seedvr2_anywhere.tools import upscale as tool

TOOL = Path(tool.__file__)
SHOT, SHOTS, SIZE = 6, 4, (16, 32)
MAKE, ARTIST, ORIENTATION = 0x010F, 0x013B, 0x0112  # EXIF tags
PATIENCE = 240  # seconds, on a busy machine


@pytest.fixture(autouse=True)
def signals():
    """Handlers as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Shots of different colours, so that every one is a stretch."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    shots = []
    for shot in range(SHOTS):
        wave = 120 + 100 * np.sin(columns / (2 + shot)) * np.cos(rows / (5 - shot))
        picture = np.roll(np.stack([wave, 255 - wave, np.full_like(wave, 60 * shot)], axis=-1), shot, axis=-1)
        shots += [np.roll(picture, number, 1) for number in range(SHOT)]
    path = tmp_path_factory.mktemp("clips") / "shots.mkv"
    media.write(path, [(np.stack(shots).astype(np.uint8), np.arange(SHOT * SHOTS))], time_base=Fraction(1, 24),
                encoding=media.Encoding("MKV FFV1"))  # fmt: skip
    return path


def command(source: Path, target: Path, jobs: Path, *more: str) -> list[str]:
    return [str(source), str(target), "--resolution", "16", "--batch-size", "5", "--jobs", str(jobs), *more]


def frames_of(path: Path) -> np.ndarray:
    return np.concatenate([batch[0] for batch in media.read(path)])


@pytest.fixture(scope="module")
def undisturbed(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert tool.main(command(clip, folder / "out.mp4", folder)) == 0
    return frames_of(folder / "out.mp4")


def test_a_clip_becomes_a_clip(undisturbed):
    assert undisturbed.shape == (SHOT * SHOTS, *SIZE, 3)


def test_a_stopped_run_answers_3_and_the_same_command_goes_on(clip, undisturbed, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(tool, "show", lambda state: os.kill(os.getpid(), signal.SIGTERM) if state.frames > SHOT else None)
        assert tool.main(command(clip, tmp_path / "out.mp4", tmp_path)) == tool.STOPPED
    assert not (tmp_path / "out.mp4").exists()
    assert tool.main(command(clip, tmp_path / "out.mp4", tmp_path)) == tool.DONE
    assert np.array_equal(frames_of(tmp_path / "out.mp4"), undisturbed)
    shown = capsys.readouterr()
    assert "Stopped." in shown.err
    assert f"{SHOT * SHOTS} frames, 32 × 16" in shown.out


def test_a_killed_run_goes_on_to_the_same_frames(clip, undisturbed, tmp_path):
    line = [sys.executable, str(TOOL), *command(clip, tmp_path / "out.mp4", tmp_path)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None and not stretches(tmp_path):
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert stretches(tmp_path), "the run was not far enough to be killed"
    assert tool.main(command(clip, tmp_path / "out.mp4", tmp_path)) == tool.DONE
    assert np.array_equal(frames_of(tmp_path / "out.mp4"), undisturbed)


def stretches(jobs: Path) -> int:
    manifests = list(jobs.rglob(MANIFEST))
    return len(json.loads(manifests[0].read_text())["stretches"]) if manifests else 0


def test_an_estimate_computes_and_writes_nothing(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tool, "upscale", None)
    assert tool.main(command(clip, tmp_path / "out.mp4", tmp_path, "--estimate")) == tool.DONE
    said = capsys.readouterr().out
    for part in ("32 × 16 → 32 × 16, 24 frames", "peak", "GB on disk", "Takes"):
        assert part in said
    assert not list(tmp_path.rglob(MANIFEST)) + list(tmp_path.rglob("*.mp4"))


WRONG = {
    "no such clip": ["missing.mp4", "out.mp4"],
    "a size beyond all limits": ["{clip}", "out.mp4", "--resolution", "9000"],
    "weights that are none": ["{clip}", "out.mp4", "--weights", "{clip}"],
    "a folder without pictures": ["{empty}", "out"],
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_done_answers_1_and_says_why(case, clip, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    arguments = [part.format(clip=clip, empty=tmp_path / "empty") for part in WRONG[case]]
    assert tool.main([*arguments, "--jobs", str(tmp_path)]) == tool.FAILED
    assert len(capsys.readouterr().err.strip()) > 20


@pytest.fixture
def photos(tmp_path):
    """Two photos, one stored lying on its side, with EXIF."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows, columns = np.mgrid[:20, :30]
    picture = Image.fromarray(np.stack([rows * 10, columns * 8, rows * 0 + 90], axis=-1).astype(np.uint8))
    exif = Image.Exif()
    exif[MAKE], exif[ARTIST], exif[ORIENTATION] = "Camera", "Åsa", 6
    picture.save(folder / "turned.jpg", exif=exif, quality=95)
    transparent = picture.copy()
    transparent.putalpha(Image.fromarray((columns * 8).astype(np.uint8)))
    transparent.save(folder / "plain.png")
    return folder


def test_a_folder_of_photos_keeps_names_exif_and_transparency_and_goes_on(photos, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(photos), str(out), "--size-by", "scale", "--scale", "2", "--jobs", str(tmp_path)]
    assert tool.main(arguments) == tool.DONE
    with Image.open(out / "turned.jpg") as turned, Image.open(out / "plain.png") as plain:
        assert (turned.size, plain.size, plain.mode) == ((40, 60), (60, 40), "RGBA")
        exif = turned.getexif()
    assert (exif[MAKE], exif[ORIENTATION]) == ("Camera", 1)
    (out / "plain.png").unlink()
    assert tool.main(arguments) == tool.DONE
    assert "1 restored, 1 were there already" in capsys.readouterr().out


def test_one_photo_becomes_one_photo(photos, tmp_path):
    target = tmp_path / "one.png"
    arguments = [str(photos / "turned.jpg"), str(target), "--resolution", "40", "--jobs", str(tmp_path)]
    assert tool.main(arguments) == tool.DONE
    with Image.open(target) as picture, Image.open(photos / "turned.jpg") as source:
        assert picture.size == (40, 60)
        small = np.asarray(picture.resize((20, 30)), float)
        upright = np.asarray(source.rotate(-90, expand=True), float)
    assert np.abs(small.mean((0, 1)) - upright.mean((0, 1))).max() < 4
