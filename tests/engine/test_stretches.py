"""Work goes on in the middle of a shot, after stops and when memory runs out, and no frame is another for it."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from seedvr2_anywhere import media
from seedvr2_anywhere.benchmarks.toy_network import VAE, make_weights
from seedvr2_anywhere.engine.host import Host
from seedvr2_anywhere.engine.images import restore_images
from seedvr2_anywhere.engine.job import MANIFEST
from seedvr2_anywhere.engine.machine import Machine, machine_of
from seedvr2_anywhere.engine.network import load_network
from seedvr2_anywhere.engine.padding import plan_geometry
from seedvr2_anywhere.engine.plan import DoesNotFit
from seedvr2_anywhere.engine.replay import decoder_field, encoder_field
from seedvr2_anywhere.engine.restore import Method, Start, Streams, restore_shot
from seedvr2_anywhere.engine.shot_stream import Frame
from seedvr2_anywhere.engine.upscale import Source, Terms, Wish, upscale
from seedvr2_anywhere.engine.windows import Windowing
from seedvr2_anywhere.models.vae_config import VAEConfig

SIZE, LATENTS, SHOT = (16, 24), 30, 7
WINDOWING = Windowing(3, 1)
METHOD = Method(plan_geometry(SIZE, SIZE), WINDOWING)
WISH, TERMS = Wish(new_resolution=16, batch_size=9), Terms(stretch=2)
FRAMES = 26  # of the file: one shot, seven latents and a part of one


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "toy.safetensors"
    save_file(make_weights(), path)
    return load_network(path)


def picture(number: int) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    wave = 128 + 100 * np.sin((columns + number) / 4) * np.cos((rows + number / 3) / 5)
    return np.stack([wave, wave * 0.5, 255 - wave], axis=-1).astype(np.uint8)


def test_the_field_of_the_released_vae_is_what_perturbing_it_showed():
    assert (encoder_field(VAEConfig()), decoder_field(VAEConfig())) == (28 + 1, 37 + 1)  # and one for alignment
    assert encoder_field(VAE) < LATENTS - 5


def frames(count: int) -> list[Frame]:
    return [Frame(picture(number), number) for number in range(count)]


@pytest.fixture(scope="module")
def whole(network):
    """All pieces of a shot of 30 latents, the last one filled with mirrored frames."""
    count = 4 * LATENTS - 5
    with torch.no_grad():
        return count, list(restore_shot(network, frames(count), SHOT, METHOD, Streams()))


@pytest.mark.parametrize("latent", [1, 4, 23, 26, LATENTS - 1])
def test_a_shot_gone_on_with_in_its_middle_gives_the_same_bits(network, whole, latent):
    count, pieces = whole
    known = torch.cat([piece.latent for piece in pieces[:latent]][-decoder_field(VAE) :], dim=2)
    start = Start(latent, 4 * latent - 3, known)
    with torch.no_grad():
        rest = list(islice(restore_shot(network, frames(count), SHOT, METHOD, Streams(), start=start), 2))
    assert rest
    for piece, expected in zip(rest, pieces[latent:], strict=False):
        assert piece.restored.equal(expected.restored), f"latent {latent}: frames differ"
        assert piece.latent.equal(expected.latent)
        assert [frame.pts for frame in piece.sources] == [frame.pts for frame in expected.sources]


def test_only_the_last_piece_says_so(whole):
    assert [piece.is_last for piece in whole[1]] == [False] * (LATENTS - 1) + [True]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "shot.mkv"
    pictures = np.stack([picture(number) for number in range(FRAMES)])
    media.write(path, [(pictures, np.arange(FRAMES))], time_base=Fraction(1, 24),
                encoding=media.Encoding("MKV FFV1"))  # fmt: skip
    return path


def run(clip, network, jobs, **options):
    with torch.no_grad():
        return upscale(Source(clip), WISH, network, jobs, **{"terms": TERMS, **options})


def frames_of(path) -> np.ndarray:
    return np.concatenate([batch[0] for batch in media.read(path)])


@pytest.fixture(scope="module")
def undisturbed(clip, network, tmp_path_factory):
    return frames_of(run(clip, network, tmp_path_factory.mktemp("jobs")).path)


class Stop(Exception):
    pass


def stopping_after(frames: int, kept: list[int]) -> Host:
    done = [0]

    def check():
        if done[0] >= frames:
            raise Stop

    return Host(check=check, progress=lambda state: done.__setitem__(0, state.frames), kept=kept.append)


@pytest.mark.parametrize("stops", [[1], [6], [13, 14, 22], [25]])
def test_a_stop_inside_a_shot_keeps_its_finished_stretches(clip, network, undisturbed, tmp_path, stops):
    kept: list[int] = []
    for after in stops:
        with pytest.raises(Stop):
            run(clip, network, tmp_path, host=stopping_after(after, kept))
        assert after - 16 <= kept[-1] <= after
    resumed = run(clip, network, tmp_path)
    assert resumed.reused == kept[-1]
    assert np.array_equal(frames_of(resumed.path), undisturbed)
    assert not list(resumed.path.parent.rglob("*.safetensors")), "latents of a finished job are left over"


def test_latents_that_cannot_be_read_cost_their_shot_only(clip, network, undisturbed, tmp_path):
    with pytest.raises(Stop):
        run(clip, network, tmp_path, host=stopping_after(14, []))
    for file in tmp_path.rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    resumed = run(clip, network, tmp_path)
    assert resumed.reused == 0
    assert np.array_equal(frames_of(resumed.path), undisturbed)


class Exhausted:
    """A transformer that runs out of memory where `fails(call number, latents)` says so."""

    def __init__(self, dit, fails):
        self._dit, self._fails, self.calls = dit, fails, 0

    def __getattr__(self, name):
        return getattr(self._dit, name)

    def __call__(self, latent, *rest):
        self.calls += 1
        if self._fails(self.calls, latent.shape[2]):
            raise torch.OutOfMemoryError("no room")
        return self._dit(latent, *rest)


def exhausted(network, fails):
    return replace(network, dit=Exhausted(network.dit, fails))


def test_out_of_memory_goes_on_with_a_smaller_plan_to_the_same_frames(clip, network, undisturbed, tmp_path):
    done = run(clip, exhausted(network, lambda call, latents: call == 3), tmp_path)
    assert np.array_equal(frames_of(done.path), undisturbed)
    assert done.plan != run(clip, network, tmp_path / "other").plan, "the plan did not shrink"


def test_smaller_windows_come_last_are_reported_and_kept(clip, network, tmp_path):
    done = run(clip, exhausted(network, lambda call, latents: latents > 2), tmp_path)
    assert any("windows of 5 frames" in note for note in done.notes)
    stored = json.loads((done.path.parent / MANIFEST).read_text())
    assert stored["windowings"] == {"0": {"length": 2, "shared": 1}}


def test_a_run_that_can_shrink_no_more_is_refused_and_the_job_says_why(clip, network, tmp_path):
    with pytest.raises(DoesNotFit, match="even that was too much"):
        run(clip, exhausted(network, lambda call, latents: True), tmp_path)
    (manifest,) = tmp_path.rglob(MANIFEST)
    assert '"state": "failed"' in manifest.read_text()


def test_images_are_begun_again_where_memory_ran_out(network):
    source = torch.rand(9, *SIZE, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = restore_images(source, WISH, network)
        again = restore_images(source, WISH, exhausted(network, lambda call, latents: call == 2))
    assert again.equal(expected)


def test_free_memory_decides_before_anything_starts(clip, network, tmp_path):
    tiny = machine_of("cpu")
    host = Host(machine=Machine(tiny.card, lambda: replace(tiny.room(), host=1 << 20)))
    with pytest.raises(DoesNotFit, match="main memory"):
        run(clip, network, tmp_path, host=host)
