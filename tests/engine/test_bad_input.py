"""What cannot be done is refused with a reason and a remedy, before work where possible; what is finished stays."""

from __future__ import annotations

import errno
import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from seedvr2_anywhere import media
from seedvr2_anywhere.benchmarks.toy_network import make_weights
from seedvr2_anywhere.engine import job as job_module
from seedvr2_anywhere.engine import stretches
from seedvr2_anywhere.engine.errors import BadFrames, BadSize
from seedvr2_anywhere.engine.images import restore_images
from seedvr2_anywhere.engine.job import MANIFEST, JobError
from seedvr2_anywhere.engine.network import load_network, outline_of
from seedvr2_anywhere.engine.upscale import Source, Terms, Wish, upscale
from seedvr2_anywhere.models.errors import ModelError

WISH, TERMS = Wish(new_resolution=16, batch_size=5), Terms(stretch=1)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "toy.safetensors"
    save_file(make_weights(), path)
    return load_network(path)


def clip_of(folder, frames: int, size: tuple[int, int] = (16, 24)):
    rows, columns = np.mgrid[: size[0], : size[1]]
    pictures = [np.stack([rows * 9 + n, columns * 7, rows + columns], axis=-1) for n in range(frames)]
    path = folder / "clip.mkv"
    media.write(path, [(np.stack(pictures).astype(np.uint8), np.arange(frames))], time_base=Fraction(1, 24),
                encoding=media.Encoding("MKV FFV1"))  # fmt: skip
    return path


def run(path, network, jobs, wish=WISH, selection=None):
    with torch.no_grad():
        return upscale(Source(path, selection or media.Selection()), wish, network, jobs, terms=TERMS)


def frames_of(path) -> np.ndarray:
    return np.concatenate([batch[0] for batch in media.read(path)])


@pytest.mark.parametrize(("frames", "size"), [(1, (16, 24)), (3, (2, 2)), (2, (1, 3))])
def test_the_smallest_clips_work(network, tmp_path, frames, size):
    folder = tmp_path / "clip"  # of pictures: encoders do not take such sizes
    folder.mkdir()
    for number in range(frames):
        Image.fromarray(np.full((*size, 3), 40 * number, np.uint8)).save(folder / f"{number}.png")
    done = run(folder, network, tmp_path / "jobs")
    assert (done.frames, min(done.size)) == (frames, 16)


@pytest.mark.parametrize("selection", [media.Selection(start=100), media.Selection(skip=50)])
def test_a_selection_without_frames_is_refused(network, tmp_path, selection):
    with pytest.raises(media.MediaError, match=r"(?i)no frame|frames"):
        run(clip_of(tmp_path, 3), network, tmp_path / "jobs", selection=selection)


REFUSED_SIZES = {"long side": Wish(new_resolution=8000), "pixels": Wish(size_by="width", new_resolution=8192)}


@pytest.mark.parametrize("case", REFUSED_SIZES)
def test_results_beyond_8k_or_64_megapixels_are_refused_before_work(network, tmp_path, case):
    path = clip_of(tmp_path, 1, (24, 24) if case == "pixels" else (16, 32))
    with pytest.raises(BadSize, match="Lower new_resolution"):
        run(path, network, tmp_path / "jobs", REFUSED_SIZES[case])
    assert not list(tmp_path.rglob(MANIFEST))


def test_a_window_that_is_not_4m_plus_1_is_taken_longer_and_said(network, tmp_path):
    done = run(clip_of(tmp_path, 3), network, tmp_path, Wish(new_resolution=16, batch_size=7))
    assert "batch_size 7 works as 9" in done.plan


DAMAGE = {
    "cut short": lambda data: data[: len(data) // 2],
    "no such format": lambda data: b"hello" * 100,
    "empty": lambda data: b"",
    "another model": lambda data: _other_model(),
}


def _other_model() -> bytes:
    from safetensors.torch import save

    return save({"model.layers.0.weight": torch.zeros(4, 4)})


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_weights_are_named_by_plans_and_by_loading(tmp_path, case):
    path = tmp_path / "broken.safetensors"
    save_file(make_weights(), path)
    path.write_bytes(DAMAGE[case](path.read_bytes()))
    for use in (outline_of, load_network):
        with pytest.raises(ModelError, match="broken"):
            use(path)


def test_pictures_that_are_no_numbers_are_refused(network):
    with pytest.raises(BadFrames, match="not numbers"):
        restore_images(torch.full((1, 16, 16, 3), float("nan")), WISH, network)


class FullDisk:
    """`os.replace` that finds no room from the given call on, until emptied."""

    def __init__(self, real, after: int) -> None:
        self._real, self._left = real, after

    def __call__(self, *paths):
        self._left -= 1
        if self._left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._real(*paths)


def test_a_disk_that_fills_up_keeps_what_is_finished(network, tmp_path, monkeypatch):
    path = clip_of(tmp_path, 14)
    whole = run(path, network, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(stretches.os, "replace", FullDisk(stretches.os.replace, 8))
        with pytest.raises((media.WriteFailed, JobError), match=r"(?i)room|space|full"):
            run(path, network, tmp_path / "jobs")
    (manifest,) = (tmp_path / "jobs").rglob(MANIFEST)
    stored = json.loads(manifest.read_text())
    kept = sum(stretch["frames"] for stretch in stored["stretches"])
    assert 0 < kept < 14
    resumed = run(path, network, tmp_path / "jobs")
    assert resumed.reused == kept
    assert np.array_equal(frames_of(resumed.path), frames_of(whole.path))


def test_a_folder_that_cannot_be_written_is_named(network, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JobError, match=r"cannot be written.*another job folder"):
        run(clip_of(tmp_path, 1), network, tmp_path / "file")


def test_too_little_room_is_found_before_work(network, tmp_path, monkeypatch):
    monkeypatch.setattr(job_module.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10})())
    with pytest.raises(JobError, match="GB are needed"):
        run(clip_of(tmp_path, 5), network, tmp_path / "jobs")
