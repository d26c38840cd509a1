"""Load Video by link: refused before the queue unless public https, then a clip that knows where it came from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.engine.links import place_of
from seedvr2_anywhere.tests.nodes.comfy_toys import pack_module


@pytest.mark.parametrize(
    "link, said",
    [
        ("http://clips.example/a.mp4", "only https is used"),
        ("https://127.0.0.1/a.mp4", "is not a public address"),
        ("https://me:secret@clips.example/a.mp4", "user name or password"),
    ],
)
def test_a_link_that_may_not_be_followed_is_refused_before_the_queue(server, link, said):
    workflow = server.main_job()
    workflow["33"]["inputs"]["path"] = link
    status, answer = server.post("/prompt", {"prompt": workflow})
    assert status == 400
    assert said in json.dumps(answer["node_errors"])
    assert "secret" not in json.dumps(answer["node_errors"])


@pytest.mark.comfy
def test_a_clip_behind_a_link_knows_its_address_and_is_fetched_again_when_it_is_gone(tmp_path, monkeypatch):
    node, host = pack_module("load_video"), pack_module("comfy_host")
    link = "https://clips.example/a.mp4"
    monkeypatch.setattr(host, "links_folder", lambda: tmp_path)

    def fetch(asked, folder, *_):
        path = place_of(asked, folder)
        path.parent.mkdir(exist_ok=True)
        black = np.zeros((3, 32, 32, 3), np.uint8)
        media.write(path, [(black, np.arange(3))], time_base=1 / media.snap_rate(24))
        return media.probe(path)

    monkeypatch.setattr(node, "fetch_link", fetch)
    before = node.LoadVideo.fingerprint_inputs(video="", path=f'"{link}"')
    clip, info = node._from_link(link, None)
    assert (clip.address, clip.path, info.frame_count) == (link, info.path, 3)
    assert node.LoadVideo.fingerprint_inputs(video="", path=link) == before
    info.path.unlink()
    assert node.LoadVideo.fingerprint_inputs(video="", path=link) != before
