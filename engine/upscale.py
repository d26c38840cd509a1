"""A file restored into a file: shot after shot through the network, kept as segments, joined with the original sound.

A run that was stopped, crashed or killed goes on with the first shot that is not finished; an identical second run
computes nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .. import media
from .ahead import Worker
from .colour import transfer
from .host import Host, Meter
from .job import FinishedShot, Job, Recipe
from .network import Network
from .padding import Geometry, plan_geometry
from .quantize import to_codes
from .resize import blend, resize
from .restore import Method, Piece, Streams, picture_of, restore_shot
from .shot_stream import Shot, ShotStream
from .sizes import target_size
from .windows import windowing_for

STRETCH_FRAMES = 240  # most frames of a segment
AUTOMATIC_WINDOW = 21  # frames; six latents, two of them shared
RESULT = "result.mp4"
SEGMENTS = "segments"
BYTES_PER_PIXEL = 0.25  # of the intermediate, generously; segments and joined file stand side by side for a moment
SDR = media.Colour(matrix="bt709", range="limited", transfer="sdr", primaries="bt709")


@dataclass(frozen=True)
class Wish:
    """What the user asks for; names and meaning as on the Upscale node."""

    new_resolution: int = 1080
    size_by: str = "short side"
    scale: float = 2.0
    max_long_side: int = 0
    seed: int = 1245
    batch_size: int = 0
    cfg_scale: float = 1.0
    strength: float = 1.0
    color_correction: str = "two_scale"


@dataclass(frozen=True)
class Source:
    """A file and what of it is wanted."""

    path: Path
    selection: media.Selection = field(default_factory=media.Selection)
    treatment: media.Treatment = field(default_factory=media.Treatment)


@dataclass(frozen=True)
class Order:
    """Everything that stays the same for all shots of a run."""

    network: Network
    method: Method
    wish: Wish
    streams: Streams = field(default_factory=Streams)


@dataclass(frozen=True)
class Upscaled:
    """Where the result is and what was done for it."""

    path: Path
    frames: int
    size: tuple[int, int]  # width, height
    rate: Fraction
    reused: int  # frames that earlier runs had finished
    notes: tuple[str, ...] = ()


def upscale(
    source: Source,
    wish: Wish,
    network: Network,
    jobs: Path,
    *,
    streams: Streams | None = None,
    host: Host | None = None,
) -> Upscaled:
    """Restore a clip and return the joined file in its job folder under `jobs`.

    Raises media.MediaError, EngineError or JobError with what was got, what was expected and what to do; whatever
    `host.check` raises passes through after finished shots were kept.
    """
    host = host or Host()
    info = media.probe(source.path)
    with media.read(source.path, source.selection, source.treatment, alpha=info.has_alpha, info=info) as reader:
        width, height = reader.size
        geometry = plan_geometry((height, width), target_size((height, width), **_size_of(wish)))
        method, remark = _method(wish, geometry, reader)
        with Job(jobs, source.path.stem, _recipe(source, wish, network, method)) as job:
            done = _finished(job, reader, geometry)
            if done is None:
                done = _make(job, reader, Order(network, method, wish, streams or Streams()), host)
    return replace(done, notes=(*((remark,) if remark else ()), *done.notes))


def finish_piece(piece: Piece, method: Method, wish: Wish) -> tuple[np.ndarray, ...]:
    """Colour, strength and codes of restored frames: (frames uint16 [T,H,W,3], pts [T], alpha [T,H,W] if any)."""
    height, width = method.geometry.target
    reference = picture_of(piece.sources, method, (height, width))
    coloured = transfer(piece.restored, reference, wish.color_correction, source_size=method.geometry.source)
    codes = to_codes(blend(coloured, reference, wish.strength), torch.uint16)
    pts = np.array([frame.pts for frame in piece.sources], dtype=np.int64)
    alphas = [frame.alpha for frame in piece.sources if frame.alpha is not None]
    if not alphas:
        return codes.numpy(), pts
    alpha: Tensor = resize(torch.from_numpy(np.stack(alphas)).unsqueeze(-1), height, width)
    return codes.numpy(), pts, to_codes(alpha, torch.uint16).squeeze(-1).numpy()


def _size_of(wish: Wish) -> dict:
    return {
        "size_by": wish.size_by,
        "resolution": wish.new_resolution,
        "scale": wish.scale,
        "max_long_side": wish.max_long_side,
    }


def _method(wish: Wish, geometry: Geometry, reader: media.Reader) -> tuple[Method, str | None]:
    windowing, remark = windowing_for(wish.batch_size or AUTOMATIC_WINDOW)
    return Method(geometry, windowing, wish.seed, wish.cfg_scale, reader.colour.transfer), remark


def _recipe(source: Source, wish: Wish, network: Network, method: Method) -> Recipe:
    parts = {
        "selection": asdict(source.selection),
        "treatment": asdict(source.treatment),
        "wish": asdict(wish),
        "weights": network.identity,
        "dtypes": [network.dit.dtype, network.vae.dtype],
        "windowing": asdict(method.windowing),
    }
    return Recipe(media.identify(source.path), parts)


def _finished(job: Job, reader: media.Reader, geometry: Geometry) -> Upscaled | None:
    """The result of an earlier run, if it is still there."""
    path = job.result_path
    if path is None:
        return None
    height, width = geometry.target
    frames = job.frames_done
    return Upscaled(path, frames, (width, height), reader.rate, frames, ("Reused, nothing computed.",))


def _make(job: Job, reader: media.Reader, order: Order, host: Host) -> Upscaled:
    height, width = order.method.geometry.target
    job.require_space(int(2 * BYTES_PER_PIXEL * height * width * ((reader.expected or 0) - job.frames_done)))
    picture = media.Picture(SDR, reader.sample_aspect, reader.rate)
    folder = _segments(job, media.Run(reader.time_base, picture))
    reused = job.frames_done
    meter = Meter(host, reader.expected, reused)
    host.kept(reused)
    for number, shot in enumerate(ShotStream(reader), start=1):
        host.check()
        if shot.first >= job.frames_done:
            order.network.placement.bring(0)
            meter.begin_shot(number)
            job.record(_make_shot(shot, order, folder, job.segments_done, meter))
            host.kept(job.frames_done)
    sound = media.Sound(reader.info.path, reader.info.audio, reader.info.start + reader.start)
    written = folder.join(job.folder / RESULT, sound, media.Tagging(reader.info, reader.start, reader.info.workflow))
    job.finish(RESULT)
    shutil.rmtree(folder.folder, ignore_errors=True)
    notes = (*map(str, reader.losses), *reader.notes, *written.notes)
    return Upscaled(written.path, written.frames, (width, height), reader.rate, reused, notes)


def _segments(job: Job, run: media.Run) -> media.SegmentFolder:
    """The job's segments; none when what is there does not fit what the job says is finished."""
    path = job.folder / SEGMENTS
    try:
        folder = media.SegmentFolder(path, run)
    except media.WriteFailed:
        folder = None
    if folder is not None and len(folder.segments) >= job.segments_done:
        return folder
    shutil.rmtree(path, ignore_errors=True)
    job.restart()
    return media.SegmentFolder(path, run)


def _make_shot(shot: Shot, order: Order, folder: media.SegmentFolder, index: int, meter: Meter) -> FinishedShot:
    """Restore one shot on this thread, finish and encode it on another."""
    frames, indices = 0, count(index)

    def write(pieces: Iterator[Piece]) -> None:
        batches = (finish_piece(piece, order.method, order.wish) for piece in pieces)
        for batch in batches:
            folder.write(next(indices), _stretch(batch, batches))

    with Worker[Piece](write) as worker:
        pieces = restore_shot(order.network, shot.frames, shot.first, order.method, order.streams, meter.host.check)
        for piece in pieces:
            frames += len(piece.sources)
            worker.put(piece)
            meter.advance(piece.restored)
    return FinishedShot(shot.first, frames, next(indices) - index)


def _stretch(first: tuple[np.ndarray, ...], rest: Iterator[tuple[np.ndarray, ...]]) -> Iterator[tuple[np.ndarray, ...]]:
    """The first batch and those that follow, until the segment is long enough."""
    frames = len(first[1])
    yield first
    while frames < STRETCH_FRAMES and (batch := next(rest, None)) is not None:
        frames += len(batch[1])
        yield batch
