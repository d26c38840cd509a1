"""A download ends with the whole, right file in place, or with the user's disk as it was and a plain message."""

from __future__ import annotations

import errno
import hashlib
import random
import threading
import time

import pytest
from seedvr2_anywhere import net
from seedvr2_anywhere.net import parts

BODY = random.Random(7).randbytes(300_000)
SHA = hashlib.sha256(BODY).hexdigest()
PATIENCE = net.Timeouts(connect_s=2, read_s=0.6, block_s=0.5)


class Case:
    """One server, one folder, one wanted file; `slept` records the waits, which take no time."""

    def __init__(self, server, folder):
        server.files["/m/a.bin"] = BODY
        self.server = server
        self.target = folder / "models" / "a.bin"
        self.session = net.guarded_session(net.Rules(loopback=True))
        self.slept = []
        self.free = 1 << 50
        self.progress = []

    def wanted(self, **changes):
        fields = {"url": self.server.base + "/m/a.bin", "target": self.target, "size": len(BODY), "sha256": SHA}
        return net.Wanted(**{**fields, **changes})

    def world(self):
        return net.World(self.sleep, lambda folder: self.free, lambda: 0.5, PATIENCE)

    def sleep(self, seconds):
        self.slept.append(seconds)
        time.sleep(min(seconds, 0.0005))

    def run(self, cancelled=lambda: False, **changes):
        return net.download(
            self.wanted(**changes), self.session, lambda *step: self.progress.append(step), cancelled, self.world()
        )

    def part(self):
        path = self.target.with_name(self.target.name + parts.SUFFIX)
        return path.read_bytes() if path.exists() else None

    def check_complete(self):
        assert self.target.read_bytes() == BODY
        assert [path.name for path in self.target.parent.iterdir()] == [self.target.name], "something was left behind"


@pytest.fixture
def case(server, tmp_path):
    return Case(server, tmp_path)


def test_a_plain_download_is_whole_and_reports_its_progress(case):
    assert case.run() == case.target
    case.check_complete()
    assert case.progress[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in case.progress] == sorted(done for done, _ in case.progress)


@pytest.mark.parametrize("known", [{}, {"size": None}, {"sha256": None}, {"size": None, "sha256": None}])
def test_cuts_are_resumed_from_the_byte_where_they_happened(case, servers, known):
    case.server.script = [servers.cut_after(100_000), servers.cut_after(0), servers.cut_after(70_001)]
    case.run(**known)
    case.check_complete()
    assert case.server.ranges_asked() == [None, "bytes=100000-", "bytes=100000-", "bytes=170001-"]
    assert all("if-range" in headers for _, headers in case.server.seen[1:])


@pytest.mark.parametrize(
    ("name", "script", "requests"),
    [
        ("a server without ranges starts again", ["cut 100000", "without_ranges"], 2),
        ("no length announced", ["chunked"], 1),
        ("the wrong range starts again", ["cut 100000", "wrong_range"], 3),
        ("trouble, then well", ["500", "503", "429"], 4),
        ("silence, then well", ["silence"], 2),
        ("a drip is cut off and resumed", ["drip"], 2),
        ("redirects", ["redirect", "redirect"], 3),
    ],
)
def test_a_broken_server_is_survived(case, servers, name, script, requests):
    plays = {
        "cut 100000": servers.cut_after(100_000),
        "without_ranges": servers.without_ranges,
        "chunked": servers.chunked,
        "wrong_range": servers.wrong_range,
        "500": servers.status(500),
        "503": servers.status(503),
        "429": servers.status(429, Retry_After="7"),
        "silence": servers.silence(1.0),
        "drip": servers.drip(130_000, 0.2),
        "redirect": servers.redirect("/m/a.bin?X-Signature=SECRET"),
    }
    case.server.script = [plays[step] for step in script]
    case.run()
    case.check_complete()
    assert len(case.server.seen) == requests, name


def test_a_drip_keeps_what_had_arrived(case, servers):
    case.server.script = [servers.drip(2 * 65536, 0.2)]
    case.run()
    resumed_at = int(case.server.ranges_asked()[1].removeprefix("bytes=").removesuffix("-"))
    assert resumed_at >= 2 * 65536


def test_retry_after_is_honoured_and_capped(case, servers):
    case.server.script = [servers.status(429, Retry_After="7"), servers.status(503, Retry_After="86400")]
    case.run()
    assert sum(case.slept) == pytest.approx(7 + 150)


def test_a_changed_file_on_the_server_is_fetched_anew_not_mixed(case, servers):
    old, new = b"o" * len(BODY), BODY
    case.server.files["/m/a.bin"] = old
    case.server.script = [servers.cut_after(100_000), servers.status(404)]
    with pytest.raises(net.BadStatus):
        case.run()
    assert case.part() == old[:100_000]
    case.server.files["/m/a.bin"] = new
    case.run()
    case.check_complete()
    assert case.server.ranges_asked() == [None, "bytes=100000-", "bytes=100000-"]


def test_a_resumed_file_with_the_wrong_hash_is_fetched_once_more_from_the_start(case, servers):
    case.server.files["/m/a.bin"] = b"o" * len(BODY)
    case.server.etags["/m/a.bin"] = '"same tag, other bytes"'
    case.server.script = [servers.cut_after(100_000), servers.status(404)]
    with pytest.raises(net.BadStatus):
        case.run()
    case.server.files["/m/a.bin"] = BODY
    case.run()
    case.check_complete()
    assert case.server.ranges_asked() == [None, "bytes=100000-", "bytes=100000-", None]


def test_a_shrunk_file_on_the_server_starts_again(case, servers):
    case.server.script = [servers.cut_after(100_000), servers.status(404)]
    with pytest.raises(net.BadStatus):
        case.run(size=None, sha256=None)
    case.server.files["/m/a.bin"] = b"short"
    case.server.etags["/m/a.bin"] = case.server.etag("/m/a.bin")
    case.run(size=None, sha256=None)
    assert case.target.read_bytes() == b"short"


@pytest.mark.parametrize(
    ("name", "changes", "script", "error", "message"),
    [
        ("wrong hash", {"sha256": "0" * 64}, [], net.Damaged, "sha256"),
        ("wrong length", {"size": 299_999}, [], net.Damaged, "offers 300000 bytes, 299999 expected"),
        ("wrong length unannounced", {"size": 299_999}, ["chunked"], net.Damaged, "300000 bytes arrived"),
        ("a login page", {}, ["html"], net.Damaged, "offers 12 bytes"),
        ("too long", {"size": None, "most_bytes": 1000}, [], net.Refused, "at most 1000"),
        ("too long unannounced", {"size": None, "most_bytes": 1000}, ["chunked"], net.Refused, "longer than"),
        ("forbidden", {}, ["403"], net.BadStatus, "access is denied"),
        ("missing", {}, ["404"], net.BadStatus, "no such file"),
        ("to a private address", {}, ["to private"], net.Refused, "only https"),
        ("to the cloud's metadata", {}, ["to metadata"], net.Refused, "not a public address"),
        ("to plain http", {}, ["to http"], net.Refused, "only https"),
        ("with a backslash", {}, ["to backslash"], net.Refused, "backslash"),
        ("round in circles", {}, ["to itself"] * 9, net.Refused, "more than 5 redirects"),
        ("always 500", {}, ["500"] * 9, net.Unreachable, "HTTP 500"),
    ],
)
def test_what_cannot_be_right_is_refused_and_nothing_takes_the_files_place(
    case, servers, name, changes, script, error, message
):
    plays = {
        "html": servers.other_bytes(b"<html>login<"),
        "chunked": servers.chunked,
        "403": servers.status(403),
        "404": servers.status(404),
        "500": servers.status(500),
        "to private": servers.redirect("http://192.168.0.1/a?SECRET"),
        "to metadata": servers.redirect("https://169.254.169.254/a?SECRET"),
        "to http": servers.redirect("http://models.example/a?SECRET"),
        "to backslash": servers.redirect("https://a.example\\@b.example/?SECRET"),
        "to itself": servers.redirect("/m/a.bin?SECRET"),
    }
    case.server.script = [plays[step] for step in script]
    with pytest.raises(error, match=message) as caught:
        case.run(**changes)
    assert not case.target.exists(), name
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None, "the cause would print the whole address"


def test_a_login_page_in_between_does_not_cost_what_is_already_here(case, servers):
    case.server.script = [servers.cut_after(200_000), servers.other_bytes(b"<html>login<")]
    with pytest.raises(net.Damaged):
        case.run()
    assert case.part() == BODY[:200_000]
    case.run()
    case.check_complete()


def test_the_number_of_tries_without_progress_is_bounded_and_the_waits_grow(case, servers):
    case.server.script = [servers.status(500)] * 9
    with pytest.raises(net.Unreachable):
        case.run()
    assert len(case.server.seen) == 5
    assert sum(case.slept) == pytest.approx(1 + 2 + 4 + 8)


def test_a_server_that_is_not_there_is_unreachable(case):
    with pytest.raises(net.Unreachable):
        case.run(url="http://127.0.0.1:9/a.bin")
    assert not case.target.exists()


@pytest.mark.parametrize("existing", [b"mine", BODY])
def test_a_file_of_the_user_is_never_replaced(case, existing):
    case.target.parent.mkdir(parents=True)
    case.target.write_bytes(existing)
    if existing == BODY:
        assert case.run() == case.target
    else:
        with pytest.raises(net.DiskTrouble, match=r"already exists with 4 bytes, 300000 expected.*left as it is"):
            case.run()
    assert case.target.read_bytes() == existing
    assert case.server.seen == []


def test_an_existing_file_of_unknown_size_is_judged_by_its_hash(case):
    case.target.parent.mkdir(parents=True)
    case.target.write_bytes(b"mine")
    with pytest.raises(net.DiskTrouble, match="not the expected file"):
        case.run(size=None)
    assert case.target.read_bytes() == b"mine"


def test_a_file_that_appears_meanwhile_is_not_overwritten(case, servers):
    def serve_and_occupy(handler, body):
        case.target.write_bytes(b"mine")
        servers.serve(handler, body)

    case.server.script = [serve_and_occupy]
    with pytest.raises(net.DiskTrouble, match="already exists"):
        case.run()
    assert case.target.read_bytes() == b"mine"


def test_a_file_system_without_hard_links_works_and_still_overwrites_nothing(case, servers, monkeypatch):
    def no_link(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(parts.os, "link", no_link)
    case.run()
    case.check_complete()


def test_too_little_space_is_said_before_a_byte_is_written(case):
    case.free = 64 << 20
    with pytest.raises(net.DiskTrouble, match="GB free"):
        case.run()
    assert case.part() == b""


def test_space_that_runs_out_on_the_way_keeps_what_is_there(case, monkeypatch):
    monkeypatch.setitem(net.download.__globals__, "SPACE_CHECK_EVERY", 100_000)
    looks = []

    def free_space(folder):
        looks.append(folder)
        return 1 << 50 if len(looks) < 2 else 0

    world = net.World(case.sleep, free_space, lambda: 0.5, PATIENCE)
    with pytest.raises(net.DiskTrouble, match="goes on from here"):
        net.download(case.wanted(), case.session, world=world)
    kept = len(case.part())
    assert 100_000 <= kept < len(BODY)
    case.run()
    case.check_complete()
    assert case.server.ranges_asked() == [None, f"bytes={kept}-"]


def test_a_full_disk_is_reported_as_such(case, monkeypatch):
    class FullDisk:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, block):
            raise OSError(errno.ENOSPC, "No space left on device")

    real = parts.Part._reopen
    monkeypatch.setattr(parts.Part, "_reopen", lambda self, cancelled: FullDisk(real(self, cancelled)))
    with pytest.raises(net.DiskTrouble, match="No space left"):
        case.run()
    assert not case.target.exists()


def test_a_folder_that_cannot_be_made_is_reported(case, tmp_path):
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(net.DiskTrouble):
        case.run()


@pytest.mark.parametrize("play", ["drip", "silence", "500"])
def test_a_stop_takes_effect_within_a_second_and_the_next_run_goes_on(case, servers, play):
    case.server.script = {
        "drip": [servers.drip(131_072, 0.4)],
        "silence": [servers.cut_after(131_072), servers.silence(0.6)],
        "500": [servers.cut_after(131_072), servers.status(500, Retry_After="100")],
    }[play]
    stop = threading.Event()
    world = net.World(time.sleep, lambda folder: 1 << 50, lambda: 0.0, net.Timeouts(2, 0.9, 60))
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    start = time.monotonic()
    with pytest.raises(net.Cancelled):
        net.download(case.wanted(), case.session, cancelled=stop.is_set, world=world)
    assert time.monotonic() - start < 1.3
    assert case.part()[:131_072] == BODY[:131_072]
    case.run()
    case.check_complete()


def test_two_downloads_of_one_file_at_once_fetch_it_once(case, servers):
    slow = [servers.cut_after(100_000), servers.cut_after(100_000)]
    case.server.script = slow
    done, errors = [], []

    def run():
        try:
            done.append(net.download(case.wanted(), case.session, world=case.world()))
        except net.NetError as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, done) == ([], [case.target] * 4)
    case.check_complete()
    assert len(case.server.seen) == 3


def test_a_stop_also_ends_the_wait_for_another_download(case):
    with parts.only_one(case.target, lambda: None), pytest.raises(net.Cancelled):
        case.run(cancelled=lambda: True)


def test_a_part_of_another_file_is_not_continued(case, servers):
    case.server.script = [servers.cut_after(100_000), servers.status(404)]
    with pytest.raises(net.BadStatus):
        case.run()
    other = b"n" * 200_000
    case.server.files["/m/a.bin"] = other
    case.server.etags["/m/a.bin"] = '"other"'
    case.run(size=200_000, sha256=hashlib.sha256(other).hexdigest())
    assert case.target.read_bytes() == other
    assert case.server.ranges_asked()[-1] is None


def test_a_part_without_its_note_is_begun_again(case, servers):
    case.target.parent.mkdir(parents=True)
    case.target.with_name("a.bin" + parts.SUFFIX).write_bytes(b"z" * 1000)
    case.run()
    case.check_complete()
    assert case.server.ranges_asked() == [None]
