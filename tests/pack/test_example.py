"""The example clip: small, with sound and one cut, and where every template looks for it."""

from __future__ import annotations

from pathlib import Path

from seedvr2_anywhere import media
from seedvr2_anywhere.engine.shots import shot_starts
from seedvr2_anywhere.nodes import __path__ as nodes_path

CLIP = Path(nodes_path[0]).parent / "workflows" / "seedvr2_example.mp4"
MOST_BYTES = 1_000_000
CUT = 30


def test_the_clip_is_small_and_has_sound_and_one_cut():
    info = media.probe(CLIP)
    assert CLIP.stat().st_size <= MOST_BYTES
    assert len(info.audio) == 1
    assert shot_starts(batch[0] for batch in media.read(CLIP)) == [CUT]


def test_a_server_finds_it_in_input(server):
    assert (server.input / CLIP.name).read_bytes() == CLIP.read_bytes()
    offered = server.get("/object_info/SeedVR2Anywhere.LoadVideo")["SeedVR2Anywhere.LoadVideo"]
    assert CLIP.name in offered["input"]["required"]["video"][1]["options"]
