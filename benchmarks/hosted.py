"""What a hosted run costs besides the service's own time: cutting, sending, fetching, verifying; and joining here.

    python benchmarks/hosted.py [--segments 3] [--no-join]     640 × 360, segments of 160 frames

Prints seconds and processor seconds a segment. The service's own upscaling is done before the clock starts.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
SIZE, RATE, SHORT_SIDE, SEGMENT = (640, 360), 24, 1080, 160


def main(arguments: list[str]) -> int:
    """Measure and print."""
    import pack  # pyright: ignore[reportMissingImports]

    pack.load()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--segments", type=int, default=3)
    parser.add_argument("--no-join", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options.segments, not options.no_join)
    return 0


def measure(folder: Path, segments: int, joins: bool) -> None:
    """One run of so many full segments without overlap, after the service has made its results."""
    from seedvr2_anywhere import media, net
    from seedvr2_anywhere.cloud import clip
    from seedvr2_anywhere.cloud.client import Client
    from seedvr2_anywhere.cloud.job import Doors, Job
    from seedvr2_anywhere.cloud.journal import Journal
    from seedvr2_anywhere.cloud.money import Budget
    from seedvr2_anywhere.cloud.plan import Segment
    from seedvr2_anywhere.cloud.run import run_hosted
    from seedvr2_anywhere.cloud.schema import Settings
    from seedvr2_anywhere.cloud.token import Token

    servers, source = service_module(), folder / "clip.mp4"
    write_clip(source, segments * SEGMENT)

    def pixels(first: int):
        with media.read(source, media.Selection(skip=first)) as batches:
            for batch in batches:
                yield batch[0]

    sent = clip.cut_segment(clip.Cutter(pixels), Segment(0, 0, SEGMENT), RATE)
    request = {"33_frame_load_cap": SEGMENT, "35_new_resolution": SHORT_SIDE, "34_frame_rate": RATE}
    made = servers.pictures().Upscaler()(sent, request)
    with servers.running() as service:
        service.transform = lambda data, values: made
        cutter, rules = clip.Cutter(pixels), net.Rules(loopback=True)
        doors = Doors(
            client=Client(service.base, Token(servers.TOKEN, "benchmark"), net.guarded_session(rules), time.sleep),
            journal=Journal(folder / "journal.db"), downloads=net.guarded_session(rules),
            cut=lambda segment: clip.cut_segment(cutter, segment, RATE),
            verify=lambda path, segment: clip.result_complaint(path, segment, SIZE, SHORT_SIDE),
        )  # fmt: skip
        job = Job("clip", segments * SEGMENT, RATE, Settings(SHORT_SIDE, 1), folder / "results", overlap=0,
                  budget=Budget(1000, 1000))  # fmt: skip
        print(f"sent {len(sent) / 1e6:.1f} MB, received {len(made) / 1e6:.1f} MB a segment")
        with clocked("besides the service", segments):
            finished = run_hosted(job, doors)
    if joins:
        with clocked("joining: colour, size, encoding", segments):
            join(source, dict(finished.parts), folder / "result.mp4")


def join(source: Path, files: dict, target: Path) -> None:
    """As the node joins."""
    from seedvr2_anywhere import media
    from seedvr2_anywhere.cloud import clip
    from seedvr2_anywhere.cloud.geometry import place
    from seedvr2_anywhere.cloud.stitch import stitched
    from seedvr2_anywhere.engine.host import Host
    from seedvr2_anywhere.engine.hosted_finish import Finish, Inset, write_result
    from seedvr2_anywhere.engine.wish import Wish

    first = next(iter(files.values()))
    lies = place(SIZE, SHORT_SIDE, media.probe(first).square_size)
    assert lies
    inset = Inset((lies.full_height, lies.full_width), lies.top, lies.left, (lies.height, lies.width))
    with media.read(source) as reader:
        pairs = clip.alongside(stitched(tuple(files), lambda segment: clip.read_result(files[segment])), reader)
        write_result(target, pairs, reader, Finish(inset, (1080, 1920), Wish()), Host())


def write_clip(path: Path, frames: int) -> None:
    """Moving waves under moving grain."""
    import numpy as np
    from seedvr2_anywhere import media

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
def clocked(name: str, segments: int):
    """Print what a block took for each segment."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{name}: {wall / segments:.2f} s a segment, {processor / segments:.2f} s of processor time", flush=True)


def service_module():
    """The test service."""
    spec = importlib.util.spec_from_file_location("seedvr2_bench_runcomfy", ROOT / "tests" / "cloud" / "server.py")
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    from environment import reexec_inside  # pyright: ignore[reportMissingImports]

    reexec_inside()
    raise SystemExit(main(sys.argv[1:]))
