"""What a hosted run costs besides the service's own time, part by part and as a whole, for a 640 × 360 source.

    .env/venv/bin/python benchmarks/hosted.py [--segments 3] [--short-side 1080] [--in-flight 2] [--no-join]

Prints seconds on the clock and of this process's processors, a segment of 160 frames each: the parts one by one; a run
until all results are here and good; and a run with joining beside it, as the node does it, until the file stands. The
service is a process of its own; its upscaling is done before the clock starts, and it says `completed` at the first
look. So all that is printed is overhead, and nothing is hidden behind waiting for the service.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from network import load_pack

load_pack()

from seedvr2_anywhere import media, net  # noqa: E402
from seedvr2_anywhere.cloud import clip  # noqa: E402
from seedvr2_anywhere.cloud.beside import Arriving  # noqa: E402
from seedvr2_anywhere.cloud.client import Client, Clip  # noqa: E402
from seedvr2_anywhere.cloud.geometry import place  # noqa: E402
from seedvr2_anywhere.cloud.job import Doors, Job, Update  # noqa: E402
from seedvr2_anywhere.cloud.journal import Journal  # noqa: E402
from seedvr2_anywhere.cloud.money import Budget  # noqa: E402
from seedvr2_anywhere.cloud.plan import Segment, plan_segments  # noqa: E402
from seedvr2_anywhere.cloud.run import run_hosted  # noqa: E402
from seedvr2_anywhere.cloud.schema import Settings  # noqa: E402
from seedvr2_anywhere.cloud.stitch import stitched  # noqa: E402
from seedvr2_anywhere.cloud.token import Token  # noqa: E402
from seedvr2_anywhere.engine.host import Host  # noqa: E402
from seedvr2_anywhere.engine.hosted_finish import Finish, Inset, write_result  # noqa: E402
from seedvr2_anywhere.engine.wish import Wish  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SIZE, RATE, SEGMENT = (640, 360), 24, 160
TARGET_S = 2.0  # a segment, on the clock
TOKEN = "test-token-0123456789abcdef"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=3)
    parser.add_argument("--short-side", type=int, default=1080)
    parser.add_argument("--in-flight", type=int, default=2)
    parser.add_argument("--no-join", action="store_true")
    parser.add_argument("--serve", type=Path, help="be the service that answers with this file")
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options)


def measure(folder: Path, options: argparse.Namespace) -> None:
    """The parts one by one, then a run of so many full segments without overlap."""
    source = folder / "clip.mp4"
    segments = plan_segments(options.segments * SEGMENT, 0)
    write_clip(source, segments[-1].stop)
    cut, verify = both_ends(source, options.short_side)
    with clocked("cutting"):
        sent = cut(segments[0])
    request = {"33_frame_load_cap": SEGMENT, "35_new_resolution": options.short_side, "34_frame_rate": RATE}
    made = folder / "made.mp4"
    made.write_bytes(service_module().pictures().Upscaler()(sent, request))
    print(f"sent {len(sent) / 1e6:.1f} MB, received {made.stat().st_size / 1e6:.1f} MB a segment")
    with service_with(made) as base:
        rules = net.Rules(loopback=True)
        client = Client(base, Token(TOKEN, "benchmark"), net.guarded_session(rules), time.sleep)
        doors = Doors(client, Journal(folder / "journal.db"), net.guarded_session(rules), cut, verify)
        with clocked("submitting"):
            request_id = client.submit(request, Clip(data=sent))
        with clocked("looking at the result"):
            address = client.result(request_id).urls[0]
        with clocked("fetching"):
            result = net.download(net.Wanted(address, folder / "alone.mp4"), doors.downloads)
        with clocked("verifying"):
            complaint = verify(result, segments[0])
        assert complaint is None, complaint
        job = Job("clip", segments[-1].stop, RATE, Settings(options.short_side, 1), folder / "results", overlap=0,
                  in_flight=options.in_flight, budget=Budget(1000, 1000))  # fmt: skip
        with clocked(f"A RUN, target {TARGET_S:g} s: all results here and good", options.segments):
            run_hosted(job, doors)
        if not options.no_join:
            joined_run(replace(job, source_key="again", folder=folder / "again"), doors, source)


def joined_run(job: Job, doors: Doors, source: Path) -> None:
    """A run with joining beside it: as a whole, and what is left of it when the last result has come."""
    here: list[float] = []

    def report(update: Update) -> None:
        if update.done == update.segments and not here:
            here.append(time.perf_counter())

    def beside(arriving: Arriving) -> None:
        join(source, arriving.segments, arriving.file, job.folder / "joined.mp4", job.settings.new_resolution)

    count = job.frames // SEGMENT
    with clocked("A RUN WITH JOINING at once: decoding, colour, exact size, encoding", count):
        run_hosted(job, replace(doors, report=report), beside=beside)
    print(f"{(time.perf_counter() - here[0]):6.2f} s of that from the last result's arrival to the file, in all")


def both_ends(source: Path, short_side: int):
    """How segments are cut and results verified, as the node does it."""

    def pixels(first: int) -> Iterator[np.ndarray]:
        with media.read(source, media.Selection(skip=first)) as batches:
            for batch in batches:
                yield batch[0]

    cutter = clip.Cutter(pixels)
    return (
        lambda segment: clip.cut_segment(cutter, segment, RATE),
        lambda path, segment: clip.result_complaint(path, segment, SIZE, short_side),
    )


def join(source: Path, segments: Sequence[Segment], file_of: Callable[[Segment], Path], target: Path,
         short_side: int) -> None:  # fmt: skip
    """As the node joins."""
    lies = place(SIZE, short_side, clip.result_size(file_of(segments[0]), segments[0]))
    assert lies
    inset = Inset((lies.full_height, lies.full_width), lies.top, lies.left, (lies.height, lies.width))
    with media.read(source) as reader:
        results = stitched(segments, lambda segment: clip.read_result(file_of(segment), segment))
        pairs = clip.alongside(results, reader)
        write_result(target, pairs, reader, Finish(inset, (short_side, short_side * 16 // 9), Wish()), Host())


def write_clip(path: Path, frames: int) -> None:
    """Moving waves under moving grain."""
    width, height = SIZE
    rng = np.random.default_rng(2)
    grain = rng.normal(0, 12, (height, width + frames, 1))
    y, x = np.mgrid[0:height, 0:width]

    def batches():
        for number in range(frames):
            wave = 128 + 60 * np.sin((x + number) / 17)[..., None] + 40 * np.cos((y - number) / 11)[..., None]
            picture = (wave + grain[:, number : number + width]) * [1, 0.9, 0.8]
            yield np.clip(picture, 0, 255).astype(np.uint8)[None], np.array([number])

    media.write(path, batches(), time_base=Fraction(1, RATE))


@contextmanager
def clocked(name: str, segments: int = 1) -> Iterator[None]:
    """Print what a block took for each segment."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{wall / segments:6.2f} s on the clock, {processor / segments:6.2f} s of processors: {name}", flush=True)


@contextmanager
def service_with(result: Path) -> Iterator[str]:
    """The base address of a service in a process of its own."""
    command = [sys.executable, __file__, "--serve", str(result)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.communicate()  # the end of its input ends it


def serve(result: Path) -> None:
    """Be an instant service until the input ends."""
    data, servers = result.read_bytes(), service_module()
    with servers.running() as service:
        service.transform = lambda clip, values: data
        print(service.base, flush=True)
        sys.stdin.read()


def service_module():
    """The test service."""
    spec = importlib.util.spec_from_file_location("seedvr2_bench_runcomfy", ROOT / "tests" / "cloud" / "server.py")
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
