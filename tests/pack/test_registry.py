"""As the registry installs it: the archive of `comfy node pack`, unpacked under its registry name, loads and works."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tools import comfyui

ROOT = comfyui.ROOT
COMFY = Path(sys.executable).with_name("comfy")
OFFLINE = ["--skip-prompt", "--no-enable-telemetry"]
LEFT_OUT = {"tests", "tools", "benchmarks", "docs", ".ci"}
NEEDED = {"__init__.py", "pyproject.toml", "requirements.txt", "LICENSE", "NOTICE", "README.md", "icon.svg",
          "workflows/seedvr2_example.mp4", "workflows/Video upscale.json", "js/seedvr2.js"}  # fmt: skip
SECONDS = 240


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A repository of its own with the files of this one, as it stands."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def archive(checkout):
    """What the registry would get."""
    said = comfy_node("pack", checkout)
    assert "Created zip file" in said
    return checkout / "node.zip"


def comfy_node(command: str, folder: Path) -> str:
    """What the registry's own tool says; it must succeed."""
    done = subprocess.run([COMFY, *OFFLINE, "node", command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_registry_finds_nothing_to_say(checkout):
    said = comfy_node("validate", checkout)
    assert "All validation checks passed successfully" in said
    assert [word for word in ("warning", "error", "S102", "S307", "E702") if word in said.lower()] == []


def test_the_archive_holds_what_runs_and_nothing_else(archive):
    names = set(zipfile.ZipFile(archive).namelist())
    assert NEEDED - names == set()
    assert [name for name in names if name.split("/")[0] in LEFT_OUT] == []


def test_nothing_is_installed_beyond_comfyui():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.strip() and not line.startswith("#")] == []


def test_unpacked_under_its_registry_name_it_runs_the_bundled_workflow(archive, tmp_path):
    pack = tmp_path / "custom_nodes" / comfyui.PACK
    zipfile.ZipFile(archive).extractall(pack)
    prompt = json.loads((pack / "workflows" / "api" / "video_upscale.json").read_text(encoding="utf-8"))
    prompt["33"]["inputs"]["frame_load_cap"] = 2
    prompt["35"]["inputs"]["new_resolution"] = 36
    with comfyui.running(tmp_path, threads=1) as server:
        entry = server.run(prompt, SECONDS)
        assert not pack.is_symlink()
        assert entry["status"]["status_str"] == "success", entry["status"]
        (result,) = (server.output / "video").glob("*.mp4")
        assert media.count_frames(result) == 2
