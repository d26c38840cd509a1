"""Single pictures and folders of them for tools/upscale.py: each by itself, EXIF and colour profile kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from seedvr2_anywhere import media
from seedvr2_anywhere.engine.host import Host
from seedvr2_anywhere.engine.images import join_opacity, restore_images
from seedvr2_anywhere.engine.network import Network
from seedvr2_anywhere.engine.quantize import to_codes
from seedvr2_anywhere.engine.wish import Wish

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
ORIENTATION = 0x0112  # EXIF tag; pictures are stored upright here
JPEG = {"quality": 95, "subsampling": 0}
SAVING: dict[str, dict[str, Any]] = {".jpg": JPEG, ".jpeg": JPEG, ".webp": {"quality": 95}}
OPAQUE = {".jpg", ".jpeg", ".bmp"}  # no transparency in these


def is_picture(path: Path) -> bool:
    """Whether a name is that of a picture."""
    return path.suffix.lower() in SUFFIXES


def pairs(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """(picture, what it becomes): one, or all of a folder under their own names in another."""
    if source.is_file():
        yield source, target
        return
    for path in sorted(source.iterdir()):
        if path.is_file() and is_picture(path):
            yield path, target / path.name


def restore_picture(source: Path, target: Path, wish: Wish, network: Network, host: Host) -> tuple[int, int]:
    """Restore one picture into a file that appears when it is whole; its (width, height)."""
    info = media.probe(source)
    with media.read(source, alpha=info.has_alpha, info=info) as reader:
        images = join_opacity(next(iter(reader)))
    done = restore_images(images, replace(wish, batch_size=1), network, host)
    codes = to_codes(done)[0].numpy()
    picture = Image.fromarray(codes[..., :3] if target.suffix.lower() in OPAQUE else codes)
    part = target.with_name(f"{target.stem}.part{target.suffix}")
    picture.save(part, **SAVING.get(target.suffix.lower(), {}) | tags_of(source))
    os.replace(part, target)
    return picture.size


def tags_of(source: Path) -> dict[str, Any]:
    """EXIF, turned upright, and colour profile of a picture, as Pillow saves them."""
    with Image.open(source) as picture:
        exif, profile = picture.getexif(), picture.info.get("icc_profile")
    if ORIENTATION in exif:
        exif[ORIENTATION] = 1
    return {"exif": exif.tobytes(), **({"icc_profile": profile} if profile else {})}
