"""A file restored into a file: shot after shot through the network, kept as segments, joined with the original sound.

A run that was stopped, crashed or killed goes on with the first stretch that is not finished; an identical second run
computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from .. import media
from .host import Host
from .job import Job, Recipe
from .machine import Machine, machine_of
from .network import Network
from .outlook import Outlook, foresee
from .padding import Geometry, plan_geometry
from .plan import Neutral, Plan, Semantic, choose_semantic, predict
from .restore import Method
from .stretches import STRETCH_LATENTS
from .wish import Wish
from .work import Order, Upscaled, Work

__all__ = ["Source", "Terms", "Upscaled", "Wish", "upscale"]


@dataclass(frozen=True)
class Source:
    """A file and what of it is wanted."""

    path: Path
    selection: media.Selection = field(default_factory=media.Selection)
    treatment: media.Treatment = field(default_factory=media.Treatment)
    keep_hdr: bool = False  # a PQ or HLG source gives such a result; otherwise SDR


@dataclass(frozen=True)
class Terms:
    """What a caller may want to decide about a run besides its result.

    prompt: kept in the manifest as it is, for who goes on with the job later. neutral: instead of the planned half.
    stretch: latents between two points that a stop or crash cannot take back.
    """

    prompt: object = None
    neutral: Neutral | None = None
    stretch: int = STRETCH_LATENTS


def upscale(
    source: Source, wish: Wish, network: Network, jobs: Path, *, host: Host | None = None, terms: Terms | None = None
) -> Upscaled:
    """Restore a clip and return the joined file in its job folder under `jobs`.

    The plan is made here, for `host.machine` or the device the network is on: `network.precision`, `wish` and the class
    of card decide the result, free memory the rest. When memory runs out the run goes on with a smaller plan from the
    last finished stretch. Raises media.MediaError, EngineError (DoesNotFit), ModelError or JobError with what was got,
    what was expected and what to do; whatever `host.check` raises passes through, finished stretches are kept.
    """
    host, terms = host or Host(), terms or Terms()
    machine = host.machine or machine_of(network.device)
    clip = _Clip(source, media.probe(source.path))
    with clip.read() as reader:
        width, height = reader.size
        known = (reader.expected, reader.rate, reader.colour.transfer)
    geometry = plan_geometry((height, width), wish.target((height, width)))
    semantic, _ = choose_semantic(machine.card, network.outline, geometry.padded, wish.batch_size, network.precision)
    with Job(jobs, source.path.stem, _recipe(source, wish, network, semantic)) as job:
        if job.result_path is not None:
            return _reused(job, job.result_path, geometry, known[1])
        ask = (geometry.source, known[0], wish, network.outline, machine, network.precision)
        outlook = foresee(*ask, check=host.check)
        plan = _plan(outlook, machine, network, terms)
        keeps_hdr = source.keep_hdr and known[2] != "sdr"
        method = Method(geometry, semantic.windowing, wish.seed, wish.cfg_scale, known[2], keeps_hdr)
        order = Order(clip.read, network, method, wish, outlook.clip, machine, terms.stretch)
        job.note(**_facts(source, wish, network, known, geometry, terms))
        return Work(job, order, plan, host).run()


@dataclass(frozen=True)
class _Clip:
    source: Source
    info: media.MediaInfo

    def read(self, check: Callable[[], None] = lambda: None) -> media.Reader:
        """From the beginning; `check` is called while frames are waited for."""
        source = self.source
        options = {"alpha": self.info.has_alpha, "info": self.info, "check": check}
        return media.read(source.path, source.selection, source.treatment, **options)


def _plan(outlook: Outlook, machine: Machine, network: Network, terms: Terms) -> Plan:
    if terms.neutral is None:
        return outlook.plan
    peaks = predict(machine.card, network.outline, outlook.clip, outlook.plan.semantic, terms.neutral)
    return replace(outlook.plan, neutral=terms.neutral, peaks=peaks)


def _recipe(source: Source, wish: Wish, network: Network, semantic: Semantic) -> Recipe:
    parts = {
        "selection": asdict(source.selection),
        "treatment": asdict(source.treatment),
        "wish": asdict(wish),
        "weights": network.identity,
        "dtypes": [network.dit.dtype, network.vae.dtype],
        "windowing": asdict(semantic.windowing),
        "exact": semantic.exact,
        "keep_hdr": source.keep_hdr,
    }
    return Recipe(media.identify(source.path), parts)


def _reused(job: Job, path: Path, geometry: Geometry, rate: Fraction) -> Upscaled:
    """The result of an earlier run."""
    height, width = geometry.target
    frames = job.frames_done
    return Upscaled(path, frames, (width, height), rate, frames, ("Reused, nothing computed.",), job.facts.plan)


def _facts(
    source: Source, wish: Wish, network: Network, known: tuple, geometry: Geometry, terms: Terms
) -> dict[str, object]:
    """What the manifest says of the run to whoever lists jobs."""
    expected, rate, _ = known
    return {
        "source": str(source.path),
        "name": source.path.name,
        "selection": {name: str(value) for name, value in asdict(source.selection).items()},
        "expected": expected,
        "rate": str(rate),
        "size": [geometry.target[1], geometry.target[0]],
        "model": network.name,
        "wish": asdict(wish),
        "prompt": terms.prompt,
    }
