"""A server that others can reach reads only its own folders and those its owner named."""

from __future__ import annotations

import pytest
from seedvr2_anywhere.tests.nodes.comfy_toys import pack_module
from seedvr2_anywhere.tests.nodes.real_server import write_clip


@pytest.mark.comfy
@pytest.mark.parametrize(
    "listen, folders, refused",
    [("127.0.0.1,::1", "", False), ("0.0.0.0", "", True), ("0.0.0.0", "clips", False)],
)
def test_a_path_is_read_where_it_may(tmp_path, monkeypatch, listen, folders, refused):
    (tmp_path / "clips").mkdir()
    clip = tmp_path / "clips" / "clip.mp4"
    write_clip(clip)
    monkeypatch.setattr(pack_module("comfy_host").args, "listen", listen)
    monkeypatch.setenv("SEEDVR2_VIDEO_DIRS", str(tmp_path / folders) if folders else "")
    said = pack_module("load_video").LoadVideo.validate_inputs(video="none.mp4", path=str(clip))
    assert ("SEEDVR2_VIDEO_DIRS" in str(said)) if refused else said is True
