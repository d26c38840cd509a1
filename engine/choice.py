"""Which weights a run uses: the word chosen on the node becomes files on this disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..models import catalogue
from .embedded import embedded_model
from .network import holds_all_parts
from .text_conditioning import text_file
from .weights import Hub, MissingWeights, find_or_fetch

AUTO, EMBEDDED = "auto", "embedded (small, built in)"
BEST_FIRST = (catalogue.DIT_7B, catalogue.DIT_3B, catalogue.DIT_7B_SHARP)
WORTH_FETCHING = "seedvr2_3b_fp16.safetensors"
ROOM_FOR_WORK = 1.25  # times the weights' size, at least, must be free


@dataclass(frozen=True)
class Place:
    """Where weights are looked for, where new ones go, and the hub they come from."""

    folders: tuple[Path, ...]
    into: Path
    hub: Callable[[], Hub]


@dataclass(frozen=True)
class Chosen:
    """Files to load, and what to tell the user about the choice."""

    dit: Path
    vae: Path | None = None
    text: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in (self.dit, self.vae) if path)


def model_names(folders: tuple[Path, ...]) -> list[str]:
    """What the node offers: auto, embedded, files on disk, then published files that are not there yet."""
    here = [path.name for path, file in catalogue.on_disk(folders).items() if _is_transformer(path.name, file)]
    published = [file.name for file in catalogue.FILES if file.kind != catalogue.VAE]
    return list(dict.fromkeys([AUTO, EMBEDDED, *here, *published]))


def choose(
    model: str,
    place: Place,
    free_bytes: int,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Chosen:
    """The files for a model's name. Only a name fetches gigabytes; auto takes what is here. Raises MissingWeights."""
    if model == EMBEDDED:
        return _embedded()
    if model == AUTO:
        return _automatic(place, free_bytes, cancelled)
    known = catalogue.by_name(model)
    if known:
        dit = find_or_fetch(known, place.folders, place.into, place.hub(), progress, cancelled)
    else:
        dit = _own_file(model, place)
        if holds_all_parts(dit):
            return Chosen(dit)
    vae = find_or_fetch(catalogue.VAE_FILE, place.folders, place.into, place.hub(), progress, cancelled)
    return Chosen(dit, vae, text_file(place.folders, place.into, place.hub(), cancelled))


def to_fetch(model: str, place: Place) -> list[catalogue.KnownFile]:
    """The files that `choose` would download for a model's name."""
    known = catalogue.by_name(model)
    wanted = [known, catalogue.VAE_FILE] if known else []
    return [file for file in wanted if catalogue.locate(file, [*place.folders, place.into]) is None]


def _automatic(place: Place, free_bytes: int, cancelled: Callable[[], bool]) -> Chosen:
    found = [(path, file) for path, file in catalogue.on_disk(place.folders).items() if file]
    fitting = [
        (path, file)
        for path, file in found
        if file.kind in BEST_FIRST and path.stat().st_size * ROOM_FOR_WORK < free_bytes
    ]
    fitting.sort(key=lambda one: (BEST_FIRST.index(one[1].kind), -one[1].size))
    vae = catalogue.locate(catalogue.VAE_FILE, place.folders)
    if fitting and vae:
        dit = fitting[0][0]
        return Chosen(dit, vae, text_file(place.folders, place.into, place.hub(), cancelled), (f"Model: {dit.name}.",))
    return _embedded((_advice(bool(fitting)),))


def _advice(has_transformer: bool) -> str:
    worth = catalogue.VAE_FILE if has_transformer else catalogue.by_name(WORTH_FETCHING)
    assert worth
    what = "The VAE is missing" if has_transformer else "No official model is here that fits"
    return f"{what}: the embedded one is used. Choose {worth.name} ({worth.size / 1e9:.1f} GB) to download it once."


def _embedded(notes: tuple[str, ...] = ()) -> Chosen:
    return Chosen(embedded_model(), notes=notes)


def _own_file(name: str, place: Place) -> Path:
    refusal = catalogue.gguf_refusal(name)
    found = next((path for path in catalogue.on_disk(place.folders) if path.name == name), None)
    if refusal or found is None:
        folders = ", ".join(map(str, place.folders))
        raise MissingWeights(refusal or f"{name} is in none of the model folders ({folders}). Choose another model.")
    return found


def _is_transformer(name: str, file: catalogue.KnownFile | None) -> bool:
    return file.kind != catalogue.VAE if file else "vae" not in name.lower() and "conditioning" not in name.lower()
