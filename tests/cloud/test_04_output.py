"""Scenarios 33 to 42: a result counts only when its content does, and a paid one is fetched until it does."""

from __future__ import annotations

import base64
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from seedvr2_anywhere import net
from seedvr2_anywhere.cloud import errors

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "runcomfy.md"


def half_then_dropped(call) -> bool:
    """The right length announced, half of it sent."""
    data = call.service.only().output
    call.send_response(200)
    call.send_header("Content-Length", str(len(data)))
    call.send_header("ETag", f'"{len(data)}"')
    call.end_headers()
    call.wfile.write(data[: len(data) // 2])
    call.wfile.flush()
    return call.drop()


def chunked_then_dropped(call) -> bool:
    data = call.service.only().output
    call.send_response(200)
    call.send_header("Transfer-Encoding", "chunked")
    call.end_headers()
    call.wfile.write(b"%x\r\n%b\r\n" % (1000, data[:1000]))
    call.wfile.flush()
    return call.drop()


def half_then_drip(call) -> bool:
    data = call.service.only().output
    call.send_response(200)
    call.send_header("Content-Length", str(len(data)))
    call.send_header("ETag", f'"{len(data)}"')
    call.end_headers()
    call.wfile.write(data[: len(data) // 2])
    for index in range(20):
        call.wfile.flush()
        time.sleep(0.2)
        call.wfile.write(data[len(data) // 2 + index : len(data) // 2 + index + 1])
    return call.drop()


def nothing_at_all(call) -> bool:
    return call.reply(200, b"", Content_Type="video/mp4")


def with_extra_bytes(call) -> bool:
    data = call.service.only().output
    call.reply(200, data, Content_Type="video/mp4")
    call.wfile.write(b"more than announced")
    return call.drop()


NO_VIDEO = {
    "no output": lambda url: None,
    "empty object": lambda url: {},
    "empty list": lambda url: [],
    "image only": lambda url: {"image": url.replace(".mp4", ".png"), "images": [url]},
    "number": lambda url: {"video": 17},
}
SHAPES = {
    "video": lambda url: {"video": url},
    "videos of one": lambda url: {"videos": [url]},
    "videos of three": lambda url: {"videos": [url + "?first", url, url + "?third"]},
    "beside previews": lambda url: {"images": [url + "?wrong"], "image": "https://x.example/a.png", "video": url},
    "plain string": lambda url: url,
    "plain list": lambda url: [url],
    "nested": lambda url: {"results": [{"type": "video", "file": {"url": url}}]},
    "path": lambda url: {"video": {"path": url}},
}


@pytest.mark.parametrize("name", NO_VIDEO)
def test_33_success_without_a_video_is_looked_at_again_and_then_no_success(desk, name):
    desk.service.shape = NO_VIDEO[name]
    desk.fails(errors.Lost, "req-0001", "names no video", "type")
    assert desk.service.count("result") == 5
    assert (desk.posts, desk.states()) == (1, ["lost"])
    desk.fails(errors.Lost)
    assert desk.posts == 1


def test_33_an_output_that_comes_late_is_taken(desk, servers):
    desk.service.plan("result", *[servers.answer(200, {"status": "succeeded", "output": {}})] * 3)
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])


@pytest.mark.parametrize("name", SHAPES)
def test_34_every_shape_of_output_is_understood(desk, name):
    desk.service.shape = SHAPES[name]
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_34_a_clip_that_went_through_storage_is_never_taken_for_its_result(desk, servers):
    put = {}

    class Storage:
        def put(self, data, name):
            put[f"/storage/{name}"] = servers.toy_upscale(data, {"33_frame_load_cap": 200})
            return f"{desk.service.base.removesuffix('/v1')}/storage/{name}?signed=1"

    desk.storage = Storage()
    desk.service.stored = put
    desk.service.transform = lambda data, values: servers.toy_upscale(servers.toy_clip(desk.frames), values)
    desk.service.plan("submit", servers.answer(422, {"detail": "must be a URL"}))
    desk.service.shape = lambda url: {"videos": [desk.service.posts[-1]["33_video"].replace("=1", "=2"), url]}
    desk.run()
    assert desk.service.count("download") == 1, "of the result; the clip would be one as well by its frames"
    assert (desk.posts, desk.states()) == (2, ["not submitted", "done"])


def test_34_the_submitted_address_is_never_taken_for_the_result(desk, servers):
    # it would serve a perfectly good clip
    address = desk.service.base.removesuffix("/v1") + "/out/req-0001_output.mp4?mine"
    desk.service.transform = lambda data, values: servers.toy_upscale(servers.toy_clip(desk.frames), values)
    desk.service.shape = lambda url: {"videos": [address, url], "input": {"33_video": address}}
    desk.run(address=address)
    assert desk.service.posts[0]["33_video"] == address
    assert [path for endpoint, path, _ in desk.service.calls if endpoint == "download"] == ["/out/req-0001_output.mp4"]
    assert (desk.posts, desk.cuts, desk.states()) == (1, 0, ["done"])


@pytest.mark.parametrize("status", [403, 404, 500])
def test_35_a_result_that_is_not_there_yet_is_asked_for_again(desk, servers, status):
    desk.service.plan("download", *[servers.answer(status, b"<html>")] * 2)
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])
    assert desk.service.count("result") == (3 if status < 500 else 1), "a fresh address is asked for"


def test_35_a_result_that_stays_away_is_left_to_the_next_run(desk, servers):
    desk.service.plan("download", *[servers.answer(403, b"")] * 5)
    said = desk.fails(errors.StillRunning, "req-0001", "paid and safe")
    shown = said.replace(desk.service.base.removesuffix("/v1"), "https://cdn.example")
    assert f"| link of the result expired | {shown} |" in DOCUMENT.read_text(encoding="utf-8")
    assert (desk.posts, desk.states()) == (1, ["submitted"])
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])


@pytest.mark.parametrize(
    "fault",
    [half_then_dropped, chunked_then_dropped, half_then_drip, nothing_at_all, with_extra_bytes],
    ids=lambda one: one.__name__,
)
def test_36_40_a_broken_transfer_is_resumed_or_begun_again(desk, fault):
    desk.service.plan("download", fault)
    desk.patience = net.Timeouts(1, 0.6, 0.5)
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])
    assert [path.suffix for path in desk.folder.glob("job/*")] == [".mp4"], "nothing unfinished is left"


FORBIDDEN = ["http://10.0.0.1/a.mp4", "http://clips.example/a.mp4", "https://169.254.169.254/a.mp4",
             "https://user@clips.example/a.mp4", "https://clips.example:8443/a.mp4",
             "https://clips.example\\@evil.example/a.mp4"]  # fmt: skip


@pytest.mark.parametrize("to", FORBIDDEN)
def test_37_a_redirect_to_a_forbidden_place_is_refused_and_the_result_kept(desk, servers, to):
    desk.service.plan("download", servers.redirected(to))
    desk.fails(errors.StillRunning, "req-0001", "paid and safe")
    assert (desk.posts, desk.states()) == (1, ["submitted"])
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_37_a_forbidden_address_beside_the_video_does_not_stand_in_its_way(desk):
    desk.service.shape = lambda url: {"videos": [FORBIDDEN[0], url]}
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])


@pytest.mark.parametrize("to", FORBIDDEN)
def test_37_an_output_at_a_forbidden_place_is_not_fetched_and_the_result_kept(desk, to):
    desk.service.shape = lambda url: {"video": to}
    desk.fails(errors.StillRunning, "req-0001", "paid and safe")
    desk.service.only().shape = lambda url: {"video": url}
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_37_a_redirect_to_an_allowed_place_is_followed_without_the_token(desk, servers):
    desk.service.plan("download", servers.redirected("/out/req-0001_output.mp4?moved"))
    desk.run()
    downloads = [headers for endpoint, _, headers in desk.service.calls if endpoint == "download"]
    assert len(downloads) == 2
    assert all("authorization" not in headers for headers in downloads)
    assert all("authorization" in headers for endpoint, _, headers in desk.service.calls if endpoint != "download")
    assert desk.posts == 1


def test_37_no_call_of_the_api_follows_a_redirect_with_the_token(desk, servers):
    with servers.running() as thief:
        for endpoint in ("status", "result", "price"):
            desk.service.plan(endpoint, servers.redirected(f"{thief.base}/requests/req-0001/{endpoint}", 307))
        desk.run()
        assert thief.calls == []
    assert desk.posts == 1


def test_38_a_page_in_place_of_the_video_is_refused_and_fetched_again(desk, servers):
    page = servers.answer(200, b"<html>please log in</html>", Content_Type="video/mp4")
    desk.service.plan("download", page, servers.answer(200, b'{"error": 1}', Content_Type="video/mp4"))
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_38_pages_for_ever_do_not_cost_the_result(desk, servers):
    desk.service.plan("download", *[servers.answer(200, b"<html>please log in</html>")] * 5)
    desk.fails(errors.StillRunning, "no video", "paid and safe")
    assert (desk.posts, desk.states()) == (1, ["submitted"])


def test_39_too_large_a_result_is_refused_and_can_be_had_under_a_higher_limit(desk):
    desk.fails(errors.StillRunning, "at most 1000", "paid and safe", most_result_bytes=1000)
    assert desk.posts == 1
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_39_a_full_disk_costs_nothing_but_patience(desk):
    desk.free_space = lambda folder: 0
    desk.fails(errors.StillRunning, "GB free", "paid and safe")
    assert (desk.posts, desk.states()) == (1, ["submitted"])
    desk.free_space = lambda folder: 1 << 50
    desk.run()
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_40_a_stop_during_a_slow_drip_comes_back_soon_and_loses_nothing(desk):
    desk.service.plan("download", half_then_drip)
    desk.stop_at("fetching the result")
    start = time.monotonic()
    desk.fails(errors.Interrupted, "req-0001", "finished already and is paid. Run fetches it.")
    assert time.monotonic() - start < 3
    assert (desk.posts, desk.states()) == (1, ["submitted"])
    desk.stop_when = lambda: False
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_41_an_address_is_requested_byte_for_byte(desk):
    desk.service.prefix = "/out/YWJj%3D%3D/x%2By"
    desk.service.shape = lambda url: {"video": url + "?sig=a%2Bb%3D&e=~%7E"}
    desk.run()
    downloads = [path for endpoint, path, _ in desk.service.calls if endpoint == "download"]
    assert downloads == ["/out/YWJj%3D%3D/x%2By/req-0001_output.mp4?sig=a%2Bb%3D&e=~%7E"]
    assert desk.posts == 1


def test_42_missing_frames_are_no_success_and_not_paid_again_by_itself(desk, servers):
    desk.service.transform = lambda data, values: servers.toy_clip(servers.toy_frames(data)[:60])
    desk.fails(errors.Lost, "60 frames came back, 100 were sent")
    assert (desk.posts, desk.states(), desk.service.count("download")) == (1, ["lost"], 2)
    desk.fails(errors.Lost)
    assert desk.posts == 1


def test_42_a_lost_result_that_turns_up_after_all_is_taken_without_paying(desk, servers):
    desk.service.transform = lambda data, values: servers.toy_clip(servers.toy_frames(data)[:60])
    desk.fails(errors.Lost)
    sent = desk.service.posts[0]["33_video"].split(",")[1]
    desk.service.only().output = servers.toy_upscale(base64.b64decode(sent), desk.service.posts[0])
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])


def test_42_a_clip_shorter_than_a_request_is_filled_up_and_cut_back(desk):
    desk.clip_of(31)
    assert len(desk.run()) == 31
    assert desk.service.posts[0]["33_frame_load_cap"] == 32
    assert any("31 frames filled up to 32" in note for note in desk.finished.notes)
    assert desk.posts == 1


def test_42_surplus_frames_are_cut_off(desk, servers):
    def longer(data, values):
        frames = servers.toy_frames(servers.toy_upscale(data, values))
        return servers.toy_clip(np.concatenate([frames, frames[-1:]]))

    desk.service.transform = longer
    assert np.array_equal(desk.run(), desk.expected())
    assert desk.posts == 1


def test_a_result_deleted_from_disk_is_fetched_again_not_paid_again(desk):
    desk.run()
    shutil.rmtree(desk.folder / "job")
    assert np.array_equal(desk.run(), desk.expected())
    assert (desk.posts, desk.states()) == (1, ["done"])
