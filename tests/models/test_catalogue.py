"""The user's file is found under whatever name and folder it has, and what is missing is named precisely."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from seedvr2_anywhere.models import catalogue
from seedvr2_anywhere.models.catalogue import DIT_3B, DIT_7B, DIT_7B_SHARP, VAE

PARAMETERS = {DIT_3B: 3.39e9, DIT_7B: 8.24e9, DIT_7B_SHARP: 8.24e9, VAE: 0.2506e9}
BYTES_PER_PARAMETER = {"fp16": 2, "fp8_e4m3fn": 1, catalogue.MIXED: 1.03, "int8_convrot": 1.02, "mxfp8": 1.05,
                       "nvfp4": 0.59}  # fmt: skip


def place(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def known(name: str) -> catalogue.KnownFile:
    file = catalogue.by_name(name)
    assert file, name
    return file


@pytest.mark.parametrize("file", catalogue.FILES, ids=lambda file: file.name)
def test_every_entry_is_consistent_in_itself(file):
    assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    assert file.name.endswith(".safetensors")
    assert file.path in ("", f"{file.folder}/{file.name}")
    assert file.size == pytest.approx(PARAMETERS[file.kind] * BYTES_PER_PARAMETER[file.format], rel=0.025)
    assert file.size_is_exact != (file.size % 10_000_000 == 0), "a rounded size is marked, an exact one is not round"


def test_no_name_and_no_hash_stands_for_two_files():
    names = [name for file in catalogue.FILES for name in file.names]
    assert len(set(names)) == len(names)
    assert len({file.sha256 for file in catalogue.FILES}) == len(catalogue.FILES)


def test_each_model_is_known_under_both_naming_schemes():
    for kind in (DIT_3B, DIT_7B, DIT_7B_SHARP):
        assert {file.repo for file in catalogue.FILES if (file.kind, file.format) == (kind, "fp16")} == {
            catalogue.NUMZ,
            catalogue.COMFY_ORG,
        }


@pytest.mark.parametrize(
    ("wanted", "present", "found"),
    [
        ("seedvr2_ema_3b_fp16.safetensors", ["SEEDVR2/seedvr2_ema_3b_fp16.safetensors"], 0),
        ("seedvr2_ema_3b_fp16.safetensors", ["diffusion_models/seedvr2_3b_fp16.safetensors"], 0),
        ("seedvr2_3b_fp16.safetensors", ["SEEDVR2/seedvr2_ema_3b_fp16.safetensors"], 0),
        ("seedvr2_3b_fp16.safetensors", ["S/seedvr2_ema_3b_fp16.safetensors", "D/seedvr2_3b_fp16.safetensors"], 1),
        ("ema_vae_fp16.safetensors", ["vae/seedvr2_ema_vae_fp16.safetensors"], 0),
        ("seedvr2_ema_vae_fp16.safetensors", ["SEEDVR2/ema_vae_fp16.safetensors"], 0),
        ("seedvr2_3b_fp16.safetensors", ["diffusion_models/video/upscale/seedvr2_3b_fp16.safetensors"], 0),
        ("seedvr2_3b_fp16.safetensors", ["SEEDVR2/seedvr2_ema_7b_fp16.safetensors"], None),
        ("seedvr2_3b_fp16.safetensors", ["SEEDVR2/seedvr2_ema_3b_fp8_e4m3fn.safetensors"], None),
        ("seedvr2_7b_fp16.safetensors", ["D/seedvr2_7b_sharp_fp16.safetensors"], None),
        ("seedvr2_3b_fp16.safetensors", ["D/seedvr2_3b_fp16.safetensors.seedvr2.part"], None),
        ("seedvr2_3b_fp16.safetensors", [], None),
    ],
)
def test_a_file_is_found_under_both_names_in_any_folder(tmp_path, wanted, present, found):
    place(tmp_path, *present)
    expected = None if found is None else tmp_path / present[found]
    assert catalogue.locate(known(wanted), [tmp_path]) == expected


def test_earlier_folders_win_and_missing_ones_do_not_matter(tmp_path):
    name = "seedvr2_3b_fp16.safetensors"
    place(tmp_path, f"one/{name}", f"two/{name}")
    folders = [tmp_path / "none", tmp_path / "two", tmp_path / "one"]
    assert catalogue.locate(known(name), folders) == tmp_path / "two" / name


def test_folders_linked_in_a_circle_end(tmp_path):
    name = "seedvr2_3b_fp16.safetensors"
    place(tmp_path, f"models/{name}")
    (tmp_path / "models" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert catalogue.locate(known(name), [tmp_path]) is not None


def test_what_is_on_disk_is_listed_with_the_users_own_files_last(tmp_path):
    place(tmp_path, "a/my_seedvr2_finetune.safetensors", "b/seedvr2_ema_7b_fp16.safetensors", "c/sdxl.safetensors",
          "b/seedvr2_3b_fp16.safetensors", "d/seedvr2_ema_3b-Q8_0.gguf")  # fmt: skip
    listed = catalogue.on_disk([tmp_path])
    assert [(path.name, file and file.name) for path, file in listed.items()] == [
        ("seedvr2_3b_fp16.safetensors", "seedvr2_3b_fp16.safetensors"),
        ("seedvr2_ema_7b_fp16.safetensors", "seedvr2_ema_7b_fp16.safetensors"),
        ("my_seedvr2_finetune.safetensors", None),
    ]


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({}, "https://huggingface.co"),
        ({"HF_ENDPOINT": ""}, "https://huggingface.co"),
        ({"HF_ENDPOINT": " https://mirror.example/ "}, "https://mirror.example"),
        ({"HF_ENDPOINT": "http://127.0.0.1:8000/hf/"}, "http://127.0.0.1:8000/hf"),
    ],
)
def test_the_hub_of_the_environment_is_honoured(environment, endpoint):
    assert catalogue.endpoint_of(environment) == endpoint


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("seedvr2_ema_3b_fp16.safetensors", "numz/SeedVR2_comfyUI/resolve/main/seedvr2_ema_3b_fp16.safetensors"),
        (
            "seedvr2_7b_int8_convrot.safetensors",
            "Comfy-Org/SeedVR2/resolve/main/diffusion_models/seedvr2_7b_int8_convrot.safetensors",
        ),
        ("seedvr2_ema_vae_fp16.safetensors", "numz/SeedVR2_comfyUI/resolve/main/ema_vae_fp16.safetensors"),
    ],
)
def test_addresses_are_those_of_the_hub(name, path):
    assert catalogue.url_of(known(name)) == f"https://huggingface.co/{path}"
    assert catalogue.url_of(known(name), "https://mirror.example/") == f"https://mirror.example/{path}"


def test_the_way_by_hand_names_address_folder_and_file(tmp_path):
    file = known("seedvr2_ema_3b_fp16.safetensors")
    message = catalogue.by_hand(file, tmp_path, "https://mirror.example")
    for part in (catalogue.url_of(file, "https://mirror.example"), str(tmp_path), file.name, "6.78 GB"):
        assert part in message


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("seedvr2_ema_3b-Q4_K_M.gguf", "seedvr2_3b_int8_convrot.safetensors (3.5 GB)"),
        ("seedvr2_ema_7b-Q4_K_M.gguf", "seedvr2_7b_int8_convrot.safetensors (8.3 GB)"),
        ("seedvr2_ema_7b_sharp-Q8_0.GGUF", "seedvr2_7b_sharp_int8_convrot.safetensors (8.3 GB)"),
        ("seedvr2_3b_fp16.safetensors", None),
    ],
)
def test_gguf_is_refused_by_name_with_the_nearest_supported_file(name, instead):
    refusal = catalogue.gguf_refusal(name)
    assert (refusal is None) == (instead is None)
    assert instead is None or (name in refusal and instead in refusal)
