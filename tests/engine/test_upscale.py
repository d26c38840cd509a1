"""A file restored into a file: frames, times and sound kept; stops, restarts and memory options change nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from seedvr2_anywhere import media
from seedvr2_anywhere.benchmarks.toy_network import make_weights
from seedvr2_anywhere.engine.host import Host
from seedvr2_anywhere.engine.job import Job, JobError, Recipe
from seedvr2_anywhere.engine.network import load_network
from seedvr2_anywhere.engine.padding import plan_geometry
from seedvr2_anywhere.engine.plan import PROCESSOR_LEVELS, Neutral
from seedvr2_anywhere.engine.restore import Method, Streams, restore_shot
from seedvr2_anywhere.engine.shot_stream import Frame
from seedvr2_anywhere.engine.upscale import Source, Terms, Wish, upscale
from seedvr2_anywhere.engine.windows import windowing_for
from seedvr2_anywhere.models.errors import UnsupportedCheckpoint

SIZE, FRAMES, CUT = (32, 48), 24, 14  # height and width, frames, first frame of the second shot
RATE = Fraction(24000, 1001)
WISH = Wish(new_resolution=48, batch_size=9)


def picture(number: int) -> np.ndarray:
    """A moving texture; another one after the cut."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    if number < CUT:
        wave = 128 + 100 * np.sin((columns + 2 * number) / 5) * np.cos(rows / 7)
        return np.stack([wave, wave * 0.5, 255 - wave], axis=-1).astype(np.uint8)
    spots = ((rows // 6 + (columns + number) // 6) % 2) * 200
    return np.stack([spots * 0.2, spots, spots * 0.1 + 30], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "toy.safetensors"
    save_file(make_weights(), path)
    return load_network(path)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A clip with a cut and sound, its first stamp not zero."""
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    frames = np.stack([picture(number) for number in range(FRAMES)])
    tone = np.sin(np.arange(48000) / 20).astype(np.float32)[None] * 0.3
    media.write(path, [(frames, np.arange(FRAMES))], time_base=1 / RATE, picture=media.Picture(rate=RATE),
                encoding=media.Encoding("MKV FFV1"),
                sound=media.Sound(samples=media.Samples(tone, 48000)))  # fmt: skip
    return path


def run(clip, network, jobs, wish=WISH, **options):
    with torch.no_grad():
        return upscale(Source(clip), wish, network, jobs, **options)


def frames_of(path) -> np.ndarray:
    return np.concatenate([batch[0] for batch in media.read(path)])


@pytest.fixture(scope="module")
def undisturbed(clip, network, tmp_path_factory):
    return run(clip, network, tmp_path_factory.mktemp("jobs"))


def test_frames_size_times_and_sound_are_those_of_the_source(clip, undisturbed):
    before, after = media.probe(clip), media.probe(undisturbed.path)
    assert after.size == (72, 48) == undisturbed.size
    assert after.rate == before.rate == RATE
    assert len(after.audio) == len(before.audio) == 1
    stamps = [np.concatenate([batch[1] for batch in reader]) * float(reader.time_base)
              for reader in (media.read(clip), media.read(undisturbed.path))]  # fmt: skip
    assert len(stamps[0]) == FRAMES == undisturbed.frames
    assert np.abs(stamps[0] - stamps[1]).max() <= 1e-3
    assert abs(float(after.duration) - FRAMES / float(RATE)) <= 1e-3


def test_colours_follow_the_source(clip, undisturbed):
    source, result = frames_of(clip).astype(float) / 255, frames_of(undisturbed.path).astype(float) / 65535
    for frame in (0, CUT - 1, CUT, FRAMES - 1):
        assert np.abs(source[frame].mean((0, 1)) - result[frame].mean((0, 1))).max() <= 3 / 255


def test_a_second_run_computes_nothing(clip, network, tmp_path):
    first = run(clip, network, tmp_path)
    known = ("dtype", "config", "parameters", "buffers")  # and nothing that computes
    dit, vae = (SimpleNamespace(**{name: getattr(each, name) for name in known}) for each in (network.dit, network.vae))
    again = run(clip, replace(network, dit=dit, vae=vae), tmp_path)
    assert again.path == first.path
    assert again.reused == FRAMES


class Stop(Exception):
    pass


def stopping_after(frames: int) -> Host:
    """A host that stops the run once so many frames are finished."""
    done = [0]

    def progress(state):
        done[0] = state.frames

    def check():
        if done[0] >= frames:
            raise Stop

    return Host(check=check, progress=progress)


@pytest.mark.parametrize("after, kept", [(1, 0), (CUT, CUT), (CUT + 1, CUT)])
def test_a_stopped_run_goes_on_to_the_same_frames(clip, network, undisturbed, tmp_path, after, kept):
    with pytest.raises(Stop):
        run(clip, network, tmp_path, host=stopping_after(after))
    resumed = run(clip, network, tmp_path)
    assert resumed.reused == kept
    assert np.array_equal(frames_of(resumed.path), frames_of(undisturbed.path))


@pytest.mark.parametrize("kind, state", [(BaseException, "stopped"), (RuntimeError, "failed")])
def test_an_interrupt_met_in_a_layer_is_a_stop_an_error_is_not(clip, network, tmp_path, monkeypatch, kind, state):
    def meet(part, begins=False):
        raise kind("met in a layer")

    monkeypatch.setattr(network.placement, "use", meet)
    with pytest.raises(kind, match="met in a layer"):
        run(clip, network, tmp_path)
    (manifest,) = tmp_path.glob("*/job.json")
    assert json.loads(manifest.read_text(encoding="utf-8"))["facts"]["state"] == state


NEUTRAL = {
    "state on the host": Neutral("resident", "host", 4),
    "one full-size frame at a time": Neutral("resident", "device", 1, push=4),
    "small blocks": PROCESSOR_LEVELS[-1],
}


@pytest.mark.parametrize("case", NEUTRAL)
def test_memory_options_do_not_change_a_frame(clip, network, undisturbed, tmp_path, case):
    other = run(clip, network, tmp_path, terms=Terms(neutral=NEUTRAL[case]))
    difference = np.abs(frames_of(other.path).astype(int) - frames_of(undisturbed.path).astype(int))
    assert difference.max() <= (0 if "host" in case else 64)  # of 65535: float rounding through a 10-bit codec


def test_strength_zero_gives_the_enlarged_source(clip, network, tmp_path):
    kept = frames_of(run(clip, network, tmp_path, replace(WISH, strength=0.0)).path)
    restored = frames_of(run(clip, network, tmp_path).path)
    source = torch.from_numpy(frames_of(clip)).float().permute(0, 3, 1, 2) / 255
    enlarged = torch.nn.functional.interpolate(source, (48, 72), mode="bicubic", antialias=True).clamp(0, 1)
    wanted = enlarged.permute(0, 2, 3, 1).numpy()
    assert np.abs(kept / 65535 - wanted).mean() < 0.02 < np.abs(restored / 65535 - wanted).mean()


def test_pictures_are_restored_as_if_each_were_alone(network):
    method = Method(plan_geometry(SIZE, (48, 72)), windowing_for(1)[0])
    frames = [Frame(picture(number), number) for number in range(6)]
    with torch.no_grad():
        together = torch.cat([piece.restored for piece in restore_shot(network, frames, 0, method, Streams())])
        alone = [next(restore_shot(network, [frame], 0, method, Streams())).restored for frame in frames]
    assert (together - torch.cat(alone)).abs().max() <= 1e-5


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 6])
def test_shots_of_any_length_keep_their_frames(clip, network, tmp_path, frames):
    with torch.no_grad():
        done = upscale(Source(clip, media.Selection(cap=frames)), WISH, network, tmp_path)
    assert done.frames == frames == len(frames_of(done.path))


def test_a_job_belongs_to_one_process_at_a_time(tmp_path):
    recipe = Recipe("source", {})
    with Job(tmp_path, "clip", recipe), pytest.raises(JobError, match="another process"):
        Job(tmp_path, "clip", recipe)
    Job(tmp_path, "clip", recipe).close()


def test_a_damaged_manifest_is_set_aside(tmp_path):
    recipe = Recipe("source", {})
    with Job(tmp_path, "clip", recipe) as job:
        job.finish("result.mp4")
        manifest = job.folder / "job.json"
    manifest.write_text("{", encoding="utf-8")
    with Job(tmp_path, "clip", recipe) as job:
        assert job.result is None
        assert manifest.with_suffix(".damaged").exists()


def test_too_little_room_is_refused_before_work(tmp_path):
    with Job(tmp_path, "clip", Recipe("source", {})) as job, pytest.raises(JobError, match=r"GB are needed .* free"):
        job.require_space(10**18)


@pytest.mark.parametrize("missing", ["decoder.", "positive_"])
def test_weights_without_a_part_name_what_is_missing(tmp_path, missing):
    path = tmp_path / "part.safetensors"
    prefix = ("encoder.", "decoder.") if missing == "decoder." else missing
    save_file({key: tensor for key, tensor in make_weights().items() if not key.startswith(prefix)}, path)
    with pytest.raises(UnsupportedCheckpoint, match="VAE" if missing == "decoder." else "text conditioning"):
        load_network(path)
