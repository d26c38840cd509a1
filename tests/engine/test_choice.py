"""The word on the node becomes the right files: nothing large is fetched unasked, what is missing is named."""

from __future__ import annotations

import pytest
from seedvr2_anywhere.engine import choice, embedded
from seedvr2_anywhere.engine.choice import AUTO, EMBEDDED, Place, choose, model_names
from seedvr2_anywhere.engine.embedded import embedded_model
from seedvr2_anywhere.engine.weights import MissingWeights

PLENTY = 10**9
THREE, SEVEN, VAE = "seedvr2_3b_fp16.safetensors", "seedvr2_7b_fp16.safetensors", "ema_vae_fp16.safetensors"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty model folder, text conditioning at hand."""
    monkeypatch.setattr(choice, "text_file", lambda *_: tmp_path / "text.safetensors")
    folder = tmp_path / "models"
    folder.mkdir()
    return Place((folder,), folder, lambda: None)


def put(place: Place, **sizes: int) -> None:
    for name, size in sizes.items():
        (place.into / {"three": THREE, "seven": SEVEN, "vae": VAE}[name]).write_bytes(bytes(size))


@pytest.mark.parametrize(
    "files, free, chosen",
    [
        ({"three": 10, "seven": 20, "vae": 1}, PLENTY, SEVEN),
        ({"three": 10, "seven": 20, "vae": 1}, 20, THREE),
        ({"three": 10, "vae": 1}, PLENTY, THREE),
    ],
)
def test_auto_takes_the_best_file_that_fits(place, files, free, chosen):
    put(place, **files)
    found = choose(AUTO, place, free)
    assert (found.dit.name, found.vae.name if found.vae else None) == (chosen, VAE)


@pytest.mark.parametrize(
    "files, said", [({}, THREE), ({"vae": 1}, THREE), ({"three": 10}, VAE), ({"seven": 2 * PLENTY, "vae": 1}, THREE)]
)
def test_auto_without_a_usable_file_is_the_embedded_model_and_names_what_to_fetch(place, files, said):
    real = {name: min(size, 1) for name, size in files.items()}
    put(place, **real)
    found = choose(AUTO, place, 0 if files.get("seven") else PLENTY)
    assert found.dit == embedded_model()
    assert said in found.notes[0] and "GB" in found.notes[0]


def test_an_incomplete_pack_is_named(place, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "EMBEDDED", tmp_path / "gone.safetensors")
    with pytest.raises(MissingWeights, match="Install the pack again"):
        choose(EMBEDDED, place, 0)


@pytest.mark.parametrize("name, said", [("mine_seedvr2.safetensors", "in none of the model folders"),
                                        ("seedvr2_3b-Q4.gguf", "is a GGUF file")])  # fmt: skip
def test_a_file_that_is_not_there_is_named(place, name, said):
    with pytest.raises(MissingWeights, match=said):
        choose(name, place, PLENTY)


def test_files_here_come_before_published_ones_and_no_vae_is_offered(place):
    put(place, seven=1, vae=1)
    (place.into / "seedvr2_mine.safetensors").write_bytes(b"")
    names = model_names(place.folders)
    assert names[:4] == [AUTO, EMBEDDED, SEVEN, "seedvr2_mine.safetensors"]
    assert VAE not in names
    assert len(names) == len(set(names))
