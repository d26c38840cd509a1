"""The published SeedVR2 weights: what they are called, where they are, how large, and how to know them.

Two naming schemes are in use for the same models: numz (`seedvr2_ema_3b_fp16`, folder SEEDVR2) and Comfy-Org
(`seedvr2_3b_fp16`, folders diffusion_models and vae). The two families were converted from different releases of the
weights, so their bytes differ; the VAE is the same file under both names. Nothing here opens a connection.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

HUB = "https://huggingface.co"
ENDPOINT_VARIABLE = "HF_ENDPOINT"
NUMZ, AINVFX, COMFY_ORG = "numz/SeedVR2_comfyUI", "AInVFX/SeedVR2_comfyUI", "Comfy-Org/SeedVR2"
DIT_3B, DIT_7B, DIT_7B_SHARP, VAE = "dit 3b", "dit 7b", "dit 7b sharp", "vae"
NUMZ_FOLDER = "SEEDVR2"
COMFY_FOLDERS = {DIT_3B: "diffusion_models", DIT_7B: "diffusion_models", DIT_7B_SHARP: "diffusion_models", VAE: "vae"}
# what is nearest in size and quality to the published GGUF files, and runs on the widest range of cards
INSTEAD_OF_GGUF = {DIT_3B: "seedvr2_3b_int8_convrot.safetensors", DIT_7B: "seedvr2_7b_int8_convrot.safetensors",
                   DIT_7B_SHARP: "seedvr2_7b_sharp_int8_convrot.safetensors"}  # fmt: skip


@dataclass(frozen=True)
class KnownFile:
    """One published file. `has_text` says that it carries the two text conditioning tensors as well."""

    name: str
    kind: str
    format: str
    repo: str
    size: int  # bytes; rounded where `size_is_exact` is false, then only good for a space check
    sha256: str
    path: str = ""  # inside the repository, when it is not the name
    also_named: tuple[str, ...] = ()  # the same bytes under another name
    size_is_exact: bool = True
    has_text: bool = False

    @property
    def folder(self) -> str:
        """Name of the folder under models/ where this file is usually kept."""
        return COMFY_FOLDERS[self.kind] if self.repo == COMFY_ORG else NUMZ_FOLDER

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.also_named)


MIXED = "fp8_e4m3fn_mixed_block35_fp16"
# as published by the hub for these repositories (large-file pointers), read in November 2026
SHA256 = {
    "seedvr2_3b_fp16": "98669fd2c06df5eca88baf68cd5c478775c8e61fc110e598c52b350145ea2660",
    "seedvr2_3b_fp8_e4m3fn": "a0226eaa2c3e6f47ae5ce83225120f16479da890ced1a3bc32b1a14619787914",
    "seedvr2_3b_int8_convrot": "c3dec8bcc5916843a8a858572970597462e1f2dc598d6dfd818f6cd40f53a157",
    "seedvr2_3b_mxfp8": "768623e3bfb1752b4d0668782751b5fead58b1bcb153f0b5e03a423095630297",
    "seedvr2_3b_nvfp4": "c8dea38b04d43295621726e2cd371c0d2d001006169c113aea17950f2cb2e295",
    "seedvr2_7b_fp16": "2742ca6fee63bc5cc1773f426dd4b07b78cad27f51c9ea5cd42b035e6b592252",
    "seedvr2_7b_fp8_e4m3fn": "5065e77d647dd553d9090a81e20d6de590d931a61df79d785e008433926ee418",
    "seedvr2_7b_int8_convrot": "5aa0d25fc9d35e449b659d0c9a5dcb22e2a4fa04032101b95a39da42b32c1be6",
    "seedvr2_7b_mxfp8": "b40804f47910d96c5089c728cc7ec8b57b956750eabb6397dc4e6e697477263d",
    "seedvr2_7b_nvfp4": "cc4af1a7bd5377066496f393555478323e806fa21163bdbe3409451aface9b93",
    "seedvr2_7b_sharp_fp16": "70823bca54b9c24eeb56e1c452697c7c2a430867e58db0e376c6e260f3a4489d",
    "seedvr2_7b_sharp_fp8_e4m3fn": "7602c5f70868d28e7730035e4e9d745b05d661c8f0a7eb758e63f9c8603596ef",
    "seedvr2_7b_sharp_int8_convrot": "db48be2f1cc7e36b01a2aa529810f5d9c6a971edd29be225cf1b0eb18d51c366",
    "seedvr2_7b_sharp_mxfp8": "0d621ec1561a11ca9b5f432ec6d4e09b263b61f4b83b0280552c8b4add030ec3",
    "seedvr2_7b_sharp_nvfp4": "80d57af7722f5a5bd4c01d2ab2688f2bf05e552e59d3d3287257de709db10397",
    "seedvr2_ema_3b_fp16": "2fd0e03a3dad24e07086750360727ca437de4ecd456f769856e960ae93e2b304",
    "seedvr2_ema_3b_fp8_e4m3fn": "3bf1e43ebedd570e7e7a0b1b60d6a02e105978f505c8128a241cde99a8240cff",
    "seedvr2_ema_7b_fp16": "7b8241aa957606ab6cfb66edabc96d43234f9819c5392b44d2492d9f0b0bbe4a",
    f"seedvr2_ema_7b_{MIXED}": "3d68b5ec0b295ae28092e355c8cad870edd00b817b26587d0cb8f9dd2df19bb2",
    "seedvr2_ema_7b_sharp_fp16": "20a93e01ff24beaeebc5de4e4e5be924359606c356c9c51509fba245bd2d77dd",
    f"seedvr2_ema_7b_sharp_{MIXED}": "0d2c5b8be0fda94351149c5115da26aef4f4932a7a2a928c6f184dda9186e0be",
    "ema_vae_fp16": "20678548f420d98d26f11442d3528f8b8c94e57ee046ef93dbb7633da8612ca1",
}


def _comfy(kind: str, format: str, size: int, exact: bool = True) -> KnownFile:
    stem = f"seedvr2_{_short(kind)}_{format}"
    path = f"diffusion_models/{stem}.safetensors"
    return KnownFile(f"{stem}.safetensors", kind, format, COMFY_ORG, size, SHA256[stem], path, (), exact, True)


def _numz(kind: str, format: str, size: int, repo: str = NUMZ) -> KnownFile:
    stem = f"seedvr2_ema_{_short(kind)}_{format}"
    return KnownFile(f"{stem}.safetensors", kind, format, repo, size, SHA256[stem])


def _short(kind: str) -> str:
    return kind.removeprefix("dit ").replace(" ", "_")


VAE_FILE = KnownFile(
    name="ema_vae_fp16.safetensors",
    kind=VAE,
    format="fp16",
    repo=NUMZ,
    size=501_324_814,
    sha256=SHA256["ema_vae_fp16"],
    also_named=("seedvr2_ema_vae_fp16.safetensors",),
)
FILES: tuple[KnownFile, ...] = (
    _comfy(DIT_3B, "fp16", 6_784_263_336),
    _comfy(DIT_3B, "fp8_e4m3fn", 3_390_000_000, exact=False),
    _comfy(DIT_3B, "int8_convrot", 3_458_259_704),
    _comfy(DIT_3B, "mxfp8", 3_560_000_000, exact=False),
    _comfy(DIT_3B, "nvfp4", 2_000_000_000, exact=False),
    _comfy(DIT_7B, "fp16", 16_480_583_960),
    _comfy(DIT_7B, "fp8_e4m3fn", 8_240_979_248),
    _comfy(DIT_7B, "int8_convrot", 8_334_897_976),
    _comfy(DIT_7B, "mxfp8", 8_580_000_000, exact=False),
    _comfy(DIT_7B, "nvfp4", 4_760_000_000, exact=False),
    _comfy(DIT_7B_SHARP, "fp16", 16_480_583_960),
    _comfy(DIT_7B_SHARP, "fp8_e4m3fn", 8_240_979_248),
    _comfy(DIT_7B_SHARP, "int8_convrot", 8_330_000_000, exact=False),
    _comfy(DIT_7B_SHARP, "mxfp8", 8_580_000_000, exact=False),
    _comfy(DIT_7B_SHARP, "nvfp4", 4_759_694_792),
    _numz(DIT_3B, "fp16", 6_783_018_808),
    _numz(DIT_3B, "fp8_e4m3fn", 3_391_544_696),
    _numz(DIT_7B, "fp16", 16_479_334_424),
    _numz(DIT_7B, MIXED, 8_466_296_338, AINVFX),
    _numz(DIT_7B_SHARP, "fp16", 16_479_334_424),
    _numz(DIT_7B_SHARP, MIXED, 8_466_296_338, AINVFX),
    VAE_FILE,
)
_BY_NAME = {name: file for file in FILES for name in file.names}


def by_name(name: str) -> KnownFile | None:
    """The published file of that name, under any of its names; None for a file of the user's own."""
    return _BY_NAME.get(name)


def equivalents(file: KnownFile) -> tuple[KnownFile, ...]:
    """Other published files of the same model in the same number format."""
    return tuple(other for other in FILES if other != file and (other.kind, other.format) == (file.kind, file.format))


def locate(file: KnownFile, folders: Iterable[Path]) -> Path | None:
    """The file on disk, in any of the folders or below; under all its names first, then an equivalent one."""
    found = {path.name: path for path in reversed(list(_weights_below(folders)))}
    wanted = [name for candidate in (file, *equivalents(file)) for name in candidate.names]
    return next((found[name] for name in wanted if name in found), None)


def on_disk(folders: Iterable[Path]) -> dict[Path, KnownFile | None]:
    """All SeedVR2 weights in the folders, in the catalogue's order; None stands for files it does not know."""
    order = {name: place for place, name in enumerate(_BY_NAME)}
    found = [path for path in _weights_below(folders) if path.name in order or "seedvr2" in path.name.lower()]
    found.sort(key=lambda path: (order.get(path.name, len(order)), path.name))
    return {path: by_name(path.name) for path in found}


def endpoint_of(environment: Mapping[str, str]) -> str:
    """The model hub to use: HF_ENDPOINT when it is set, else huggingface.co; without a slash at the end."""
    return (environment.get(ENDPOINT_VARIABLE) or "").strip().rstrip("/") or HUB


def url_of(file: KnownFile, endpoint: str = HUB) -> str:
    """Address of the file on a hub."""
    return f"{endpoint.rstrip('/')}/{file.repo}/resolve/main/{quote(file.path or file.name)}"


def by_hand(file: KnownFile, folder: Path, endpoint: str = HUB) -> str:
    """How to bring the file home without this pack: address, folder and file name."""
    return (
        f"To do it by hand, download {url_of(file, endpoint)} ({file.size / 1e9:.2f} GB) "
        f"and put it into {folder} as {file.name}."
    )


def gguf_refusal(name: str) -> str | None:
    """Why a GGUF file cannot be used and which file to take instead; None for any other name."""
    if not name.lower().endswith(".gguf"):
        return None
    kind = _kind_of(name)
    instead = _BY_NAME[INSTEAD_OF_GGUF[kind]]
    return (
        f"{name} is a GGUF file, which is not supported yet. The nearest supported file is {instead.name} "
        f"({instead.size / 1e9:.1f} GB), from {instead.repo}."
    )


def _kind_of(name: str) -> str:
    if re.search(r"7b", name, re.IGNORECASE):
        return DIT_7B_SHARP if "sharp" in name.lower() else DIT_7B
    return DIT_3B


def _weights_below(folders: Iterable[Path]) -> Iterator[Path]:
    seen: set[str] = set()
    for folder in folders:
        for place, below, names in os.walk(folder, followlinks=True):
            real = os.path.realpath(place)
            below[:] = sorted(below) if real not in seen else []
            files = sorted(names) if real not in seen else []
            seen.add(real)  # users link model folders, sometimes in circles
            yield from (Path(place, name) for name in files if name.lower().endswith(".safetensors"))
