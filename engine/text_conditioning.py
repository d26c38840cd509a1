"""The two fixed text tensors of SeedVR2: from a checkpoint that carries them, or fetched alone, 1.2 MB, once.

No text encoder runs at inference: the tensors are frozen encodings of one positive and one negative prompt. Comfy-Org's
files carry them; of such a file on the hub only the header and these two tensors are read, by range requests.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import net
from ..models import catalogue
from .weights import Hub, MissingWeights

if TYPE_CHECKING:
    from torch import Tensor

KEPT_NAME = "seedvr2_text_conditioning.safetensors"
PREFIXES = ("", "model.diffusion_model.")  # ComfyUI's own savers add the second
WIDTH = 5120
MOST_HEADER_BYTES = 8 << 20  # the real headers are below 0.2 MB
SOURCES = ("seedvr2_3b_fp16.safetensors", "seedvr2_7b_fp16.safetensors")  # on the hub, tried in this order
MEAN_TOLERANCE, STD_TOLERANCE = 1e-3, 2e-3  # room for a copy in another 16-bit format
FIRST_TOLERANCE = 2**-8  # relative; one step of bfloat16


@dataclass(frozen=True)
class Fingerprint:
    """What is known of a tensor without having it: rows, statistics, first values (model reference §2.5)."""

    key: str
    rows: int
    mean: float
    std: float
    largest: float
    first: tuple[float, ...]


POSITIVE = Fingerprint("positive_conditioning", 58, 0.0095415, 0.97507, 43.0, (0.390625, 0.1875, -0.046387, -0.016113))
NEGATIVE = Fingerprint("negative_conditioning", 64, 0.0097806, 1.32794, 43.0, (0.361328, 0.375, -0.020142, 0.016357))


@dataclass(frozen=True)
class TextConditioning:
    """positive [58, 5120] and negative [64, 5120], bfloat16 on the CPU."""

    positive: Tensor
    negative: Tensor


def text_conditioning(
    folders: Iterable[Path], keep_in: Path, hub: Hub, cancelled: Callable[[], bool] = lambda: False
) -> TextConditioning:
    """The tensors from the kept small file, from any checkpoint in `folders`, or from the hub, validated each time.

    What came from the hub is kept as a small file in `keep_in`. Raises MissingWeights with what to do offline.
    """
    kept = keep_in / KEPT_NAME
    for path in [kept, *_carriers([*folders, keep_in])]:
        found = read_text(path) if path.is_file() else None
        if found:
            return found
    fetched = _fetch(keep_in, hub, cancelled)
    _keep(fetched, kept)
    return fetched


def text_file(folders: Iterable[Path], keep_in: Path, hub: Hub, cancelled: Callable[[], bool] = lambda: False) -> Path:
    """The file that carries the tensors, found or fetched as by `text_conditioning`. Raises MissingWeights."""
    folders = list(folders)
    text_conditioning(folders, keep_in, hub, cancelled)
    candidates = [keep_in / KEPT_NAME, *_carriers([*folders, keep_in])]
    found = next((path for path in candidates if path.is_file() and read_text(path)), None)
    if found is None:
        raise MissingWeights(f"The text conditioning could not be kept in {keep_in}. Make that folder writable.")
    return found


def read_text(path: Path) -> TextConditioning | None:
    """The tensors a safetensors file carries; None when it is unreadable, has none, or has others."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            keys = set(file.keys())
            positive = _read_one(file, keys, POSITIVE.key)
            negative = _read_one(file, keys, NEGATIVE.key)
    except (SafetensorError, OSError):
        return None
    if positive is None or negative is None:
        return None
    found = TextConditioning(positive, negative)
    return found if complaint(found) is None else None


def complaint(found: TextConditioning) -> str | None:
    """What is wrong with the tensors, None when they are the published ones as far as their statistics tell."""
    for tensor, expected in ((found.positive, POSITIVE), (found.negative, NEGATIVE)):
        if tuple(tensor.shape) != (expected.rows, WIDTH):
            return f"{expected.key} has shape {tuple(tensor.shape)}, ({expected.rows}, {WIDTH}) expected"
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            return f"{expected.key} is {tensor.dtype}, bfloat16 expected"
        if not _fits(tensor.double(), expected):
            return f"{expected.key} has other values than the published one"
    return None


def _fits(values: Tensor, expected: Fingerprint) -> bool:
    first = values.flatten()[: len(expected.first)].tolist()
    close = (abs(a - b) <= FIRST_TOLERANCE * abs(b) for a, b in zip(first, expected.first, strict=True))
    return (
        abs(float(values.mean()) - expected.mean) <= MEAN_TOLERANCE
        and abs(float(values.std()) - expected.std) <= STD_TOLERANCE
        and float(values.abs().max()) == expected.largest
        and all(close)
    )


def _carriers(folders: list[Path]) -> list[Path]:
    # files known to carry the tensors come first, files known not to carry them are not opened
    found = catalogue.on_disk(folders)
    return [path for path, file in found.items() if file and file.has_text] + [
        path for path, file in found.items() if file is None
    ]


def _read_one(file, keys: set[str], name: str) -> Tensor | None:
    key = next((prefix + name for prefix in PREFIXES if prefix + name in keys), None)
    return file.get_tensor(key) if key else None


def _fetch(keep_in: Path, hub: Hub, cancelled: Callable[[], bool]) -> TextConditioning:
    reasons = []
    for name in SOURCES:
        file = catalogue.by_name(name)
        assert file, name
        try:
            return _fetch_from(catalogue.url_of(file, hub.endpoint), hub, cancelled)
        except net.Cancelled:
            raise
        except net.NetError as error:
            reasons.append(str(error))
    file = catalogue.by_name(SOURCES[0])
    assert file
    raise MissingWeights(
        f"The text conditioning (1.2 MB) is on no file here and could not be fetched. {' '.join(reasons)} Any file of "
        f"{catalogue.COMFY_ORG} carries it. {catalogue.by_hand(file, keep_in, hub.endpoint)}"
    )


def _fetch_from(url: str, hub: Hub, cancelled: Callable[[], bool]) -> TextConditioning:
    def read(start: int, stop: int) -> net.RangeAnswer:
        return net.fetch_range(hub.session, url, start, stop, hub.world.timeouts, cancelled)

    opening = read(0, 8)
    length = int.from_bytes(opening.body, "little")
    if not 2 <= length <= min(MOST_HEADER_BYTES, opening.total - 8):
        raise net.Damaged(f"{net.mask(url)}: not a safetensors file.")
    header = _parsed(read(8, 8 + length).body, url)
    found = TextConditioning(
        *(_fetch_one(header, expected, 8 + length, read, url) for expected in (POSITIVE, NEGATIVE))
    )
    wrong = complaint(found)
    if wrong:
        raise net.Damaged(f"{net.mask(url)}: {wrong}.")
    return found


def _fetch_one(
    header: dict, expected: Fingerprint, base: int, read: Callable[[int, int], net.RangeAnswer], url: str
) -> Tensor:
    import torch

    entry = next((header[prefix + expected.key] for prefix in PREFIXES if prefix + expected.key in header), {})
    try:
        start, stop = (int(one) for one in entry["data_offsets"])
        found = (entry["dtype"], entry["shape"], stop - start)
    except (KeyError, TypeError, ValueError):
        raise net.Damaged(f"{net.mask(url)}: no tensor {expected.key} in this file.") from None
    wanted = ("BF16", [expected.rows, WIDTH], expected.rows * WIDTH * 2)
    if found != wanted or start < 0:
        raise net.Damaged(f"{net.mask(url)}: {expected.key} is {found} (type, shape, bytes), {wanted} expected.")
    body = bytearray(read(base + start, base + stop).body)
    return torch.frombuffer(body, dtype=torch.bfloat16).reshape(expected.rows, WIDTH)


def _parsed(text: bytes, url: str) -> dict:
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise net.Damaged(f"{net.mask(url)}: its header cannot be read.")
    return header


def _keep(found: TextConditioning, kept: Path) -> None:
    from safetensors.torch import save

    data = save({POSITIVE.key: found.positive, NEGATIVE.key: found.negative})
    unfinished = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data)
        os.replace(unfinished, kept)
    except OSError:  # a folder that cannot be written: the next start fetches 1.2 MB again
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
