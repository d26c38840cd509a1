"""A server that others can reach reads only its own folders and those its owner named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ASK = """
import importlib.util, json, sys
import comfy.options
comfy.options.enable_args_parsing()
spec = importlib.util.spec_from_file_location("pack", sys.path[0] + "/custom_nodes/seedvr2-anywhere/__init__.py")
sys.modules["pack"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from pack.nodes.load_video import LoadVideo
print(json.dumps(LoadVideo.validate_inputs(video="none.mp4", path=PATH)))
"""


@pytest.mark.parametrize(
    "listen, folders, refused",
    [("127.0.0.1,::1", "", False), ("0.0.0.0", "", True), ("0.0.0.0", "clips", False)],
)
def test_a_path_is_read_where_it_may(server, tmp_path, listen, folders, refused):
    (tmp_path / "clips").mkdir()
    clip = tmp_path / "clips" / "clip.mp4"
    clip.write_bytes((server.input / "clip.mp4").read_bytes())
    environment = os.environ | {"SEEDVR2_VIDEO_DIRS": str(tmp_path / folders) if folders else ""}
    script = f"import sys; sys.path.insert(0, {str(ROOT / '.env/ComfyUI')!r}); PATH = {str(clip)!r}\n{ASK}"
    done = subprocess.run(
        [sys.executable, "-c", script, "--cpu", "--listen", listen, "--base-directory", str(server.base)],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.strip().splitlines()[-1])
    assert ("SEEDVR2_VIDEO_DIRS" in str(said)) if refused else said is True
