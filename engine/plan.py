"""How a clip will be worked on: decided once, printed, and checked against memory before anything starts.

A plan has two halves. The semantic one (weights, windows, number format) decides the result; it follows from settings
and the class of the card alone, never from what happens to be free, so that a job can be resumed and repeated. The
neutral one (where state and weights lie, how much is done at a time) only decides what fits, and may change any time.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch

from ..models.config import LATENT_CHANNELS, DiTConfig
from ..models.dit_memory import dit_peak_bytes
from ..models.kernels import are_present
from ..models.vae_config import SPATIAL_FACTOR, VAEConfig
from ..models.vae_memory import Footprint, decoder_footprint, encoder_footprint
from .errors import EngineError
from .placement import Need, Part, Weights
from .shots import LOOK_AHEAD
from .windows import Windowing, windowing_for, windowing_of

GIB, MIB = 1 << 30, 1 << 20
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
WINDOWS = (21, 12, 9, 6, 5, 3, 2, 1)  # latents; fewer than 5 attend to nothing across latents, so they come last
ACTIVATION_SHARE = 0.45  # of a card of the class, for the tokens of a window; weights can be streamed beside them
DEVICE_MARGIN = 6 * GIB // 10  # context, fragments and the desktop; measured edges lie between 0.37 and 0.45 GiB
HOST_SHARE = 0.9  # of free host memory
BLOCKS_IN_FLIGHT = 3  # of a streamed transformer: in use, arriving, and cast
PUSHES = (16, 4)  # frames handed on at a time
QUEUED_PUSHES = 4  # on either side of the network: being made, waiting, being used, being written
PIXEL_BYTES = {"source": 3, "result": 12}  # uint8, and float32 until it is written
SHRUNK = 0.9  # a plan after out-of-memory must promise at most this part of the peak that failed


class DoesNotFit(EngineError):
    """No plan fits the memory there is; the message says what would help."""


@dataclass(frozen=True)
class CardClass:
    """Cards from so much memory on, and the longest window that is worth it on them."""

    name: str
    least_gib: int
    latents: int


PROCESSOR = CardClass("processor", 8, 6)
CARD_CLASSES = (  # a card reports a little less than its name says
    CardClass("40 GB and more", 39, 21),
    CardClass("24 to 40 GB", 22, 12),
    CardClass("16 to 24 GB", 15, 12),
    CardClass("12 to 16 GB", 11, 12),
    CardClass("8 to 12 GB", 7, 9),
    CardClass("6 to 8 GB", 5, 6),
    CardClass("less than 6 GB", 3, 5),
)


@dataclass(frozen=True)
class Card:
    """The device that computes; `kind` as in torch.device."""

    name: str
    kind: str
    total_bytes: int
    computes_bf16: bool


@dataclass(frozen=True)
class Room:
    """Memory free at the moment, in bytes; a limit the user set counts as what is free."""

    device: int
    host: int


@dataclass(frozen=True)
class Outline:
    """The models to be used, as far as plans need to know: name and stored size of the transformer, both configs."""

    name: str
    dit: DiTConfig
    dit_bytes: int
    vae: VAEConfig
    text_length: int = 58


@dataclass(frozen=True)
class Clip:
    """Sizes (h, w) before, after and while computing, and the number of frames if known."""

    source: tuple[int, int]
    target: tuple[int, int]
    padded: tuple[int, int]
    frames: int | None = None


@dataclass(frozen=True)
class Semantic:
    """The half that decides the result; part of a job's key."""

    weights: str
    windowing: Windowing
    precision: str  # a key of PRECISIONS
    exact: bool = True

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's arithmetic."""
        return PRECISIONS[self.precision]


@dataclass(frozen=True)
class Neutral:
    """The half that decides what fits."""

    weights: Weights  # of the transformer: "resident", "visiting" (away while the VAE works), "streamed" block by block
    state: str  # of the VAE: "device" or "host"
    full_frames: int  # decoded at a time at full size
    block_bytes: int | None = None  # limit of a convolution's input block; None: whole frames
    push: int = PUSHES[0]  # frames handed on at a time


LEVELS = (  # from fast to small
    Neutral("resident", "device", 4),
    Neutral("resident", "device", 1),
    Neutral("visiting", "device", 4),
    Neutral("visiting", "device", 1),
    Neutral("streamed", "device", 1),
    Neutral("visiting", "host", 4),
    Neutral("visiting", "host", 1, 512 * MIB),
    Neutral("streamed", "host", 1, 512 * MIB),
    Neutral("streamed", "host", 1, 128 * MIB),
)
PROCESSOR_LEVELS = (
    Neutral("resident", "device", 4),
    Neutral("resident", "device", 1),
    Neutral("resident", "device", 1, 128 * MIB),
)
WORDS = {
    "resident": "weights stay on the card",
    "visiting": "transformer leaves the card while the VAE works",
    "streamed": "transformer streamed to the card",
}


@dataclass(frozen=True)
class Peaks:
    """Predicted bytes at the highest point; on the processor everything is host memory."""

    device: int
    host: int
    needs: Mapping[Part, Need] = field(default_factory=dict, compare=False)  # of each part, its weights left out

    def fit(self, room: Room) -> bool:
        """Whether they do, margins kept."""
        return self.host <= HOST_SHARE * room.host and (not self.device or self.device + DEVICE_MARGIN <= room.device)


@dataclass(frozen=True)
class Plan:
    """Both halves, what they will need, and what the user should know."""

    semantic: Semantic
    neutral: Neutral
    peaks: Peaks
    remarks: tuple[str, ...] = ()


def make_plan(
    card: Card, network: Outline, clip: Clip, room: Room, batch_size: int = 0, precision: str = "auto"
) -> Plan:
    """Plan for settings as the node has them; raises DoesNotFit before anything is loaded."""
    semantic, remarks = choose_semantic(card, network, clip.padded, batch_size, precision)
    neutral, peaks = choose_neutral(card, network, clip, semantic, room)
    if math.prod(clip.target) < math.prod(clip.source):
        remarks = (*remarks, "the result is smaller than the source.")
    return Plan(semantic, neutral, peaks, remarks)


def choose_semantic(
    card: Card, network: Outline, padded: tuple[int, int], batch_size: int = 0, precision: str = "auto"
) -> tuple[Semantic, tuple[str, ...]]:
    """From settings and the class of the card alone; with remarks where a setting could not be taken as it is."""
    if precision not in (*PRECISIONS, "auto"):
        raise EngineError(f"precision {precision!r}: expected auto, {', '.join(PRECISIONS)}.")
    if precision == "auto":
        precision = "bf16" if card.computes_bf16 else "fp32"
    if batch_size:
        windowing, remark = windowing_for(batch_size)
        return Semantic(network.name, windowing, precision), (remark,) if remark else ()
    windowing = windowing_of(_window_latents(card, network, padded, PRECISIONS[precision]))
    return Semantic(network.name, windowing, precision), ()


def choose_neutral(card: Card, network: Outline, clip: Clip, semantic: Semantic, room: Room) -> tuple[Neutral, Peaks]:
    """The fastest level whose predicted peaks fit; raises DoesNotFit naming the least that would do."""
    least = None
    for neutral in _levels(card):
        least = predict(card, network, clip, semantic, neutral)
        if least.fit(room):
            return neutral, least
    assert least is not None
    raise DoesNotFit(_refusal(card, clip, semantic, least, room))


def predict(card: Card, network: Outline, clip: Clip, semantic: Semantic, neutral: Neutral) -> Peaks:
    """Peaks of a shot's three stages, which take turns on the device while the VAE's states live on."""
    encoder, decoder = (_footprint(kind, card, network, clip, semantic, neutral) for kind in ("encode", "decode"))
    states = 0 if neutral.state == "host" else encoder.state + decoder.state
    vae = encoder.weights + decoder.weights
    fused = are_present(card.kind)
    at_work = _window_bytes(card, network, clip.padded, semantic.windowing.length, semantic.dtype, fused)
    resident = network.dit_bytes if neutral.weights == "resident" else 0
    held = BLOCKS_IN_FLIGHT * network.dit_bytes // network.dit.layers
    used = held if neutral.weights == "streamed" else network.dit_bytes
    stages = (  # each footprint holds its own half's weights and, on the device, its own state
        resident + vae - encoder.weights + encoder.device + (states and decoder.state),
        used + vae + states + at_work,
        resident + vae - decoder.weights + decoder.device + (states and encoder.state),
    )
    frames = _frame_bytes(clip, semantic, neutral.push)
    needs: dict[Part, Need] = {
        "encoder": _need(encoder, states),
        "transformer": Need(at_work),
        "decoder": _need(decoder, states),
    }
    if card.kind == "cpu":
        return Peaks(0, max(stages) + frames, needs)
    stored = 0 if neutral.weights == "resident" else network.dit_bytes
    return Peaks(max(stages), encoder.host + decoder.host + stored + frames, needs)


def shrink(plan: Plan, card: Card, network: Outline, clip: Clip) -> tuple[Plan, bool]:
    """The next smaller plan after out-of-memory, and whether it holds only from the next shot on.

    The neutral half goes first and changes nothing in the result; then the window, which does. Raises DoesNotFit.
    """
    goal = SHRUNK * max(plan.peaks.device, plan.peaks.host if card.kind == "cpu" else 0)
    levels = list(_levels(card))
    for neutral in levels[levels.index(plan.neutral) + 1 :]:
        peaks = predict(card, network, clip, plan.semantic, neutral)
        if max(peaks.device, peaks.host if card.kind == "cpu" else 0) <= goal:
            return replace(plan, neutral=neutral, peaks=peaks), False
    shorter = next((latents for latents in WINDOWS if latents < plan.semantic.windowing.length), None)
    if shorter is None:
        raise DoesNotFit(_refusal(card, clip, plan.semantic, plan.peaks, None))
    semantic = replace(plan.semantic, windowing=windowing_of(shorter))
    remark = f"out of memory: windows of {semantic.windowing.frames} frames from the next shot on."
    peaks = predict(card, network, clip, semantic, plan.neutral)
    return Plan(semantic, plan.neutral, peaks, (*plan.remarks, remark)), True


def describe(plan: Plan, clip: Clip) -> str:
    """One line: sizes, model, windows, where things lie, predicted peaks, remarks."""
    semantic, neutral, windowing = plan.semantic, plan.neutral, plan.semantic.windowing
    frames = "" if clip.frames is None else f", {clip.frames:,} frame{'s' if clip.frames != 1 else ''}"
    windows = "frames one by one" if windowing.is_pictures else f"windows of {windowing.frames} frames"
    if windowing.shared:
        windows += f" sharing {4 * windowing.shared}"
    parts = [
        f"{_say_size(clip.source)} → {_say_size(clip.target)}{frames}",
        f"{semantic.weights} in {semantic.precision}, {'exact' if semantic.exact else 'approximate'}",
        windows,
    ]
    memory = f"peak {_say_gib(plan.peaks.host)} of main memory"
    if plan.peaks.device:
        parts += [WORDS[neutral.weights], f"VAE state on the {'card' if neutral.state == 'device' else 'host'}"]
        memory = f"peak {_say_gib(plan.peaks.device)} on the card and {_say_gib(plan.peaks.host)} of main memory"
    line = "; ".join([*parts, memory])
    return ". ".join([line, *(remark.rstrip(".") for remark in plan.remarks)]) + "."


def precision_of(dtype: torch.dtype) -> str:
    """The name plans give a number format."""
    return next(name for name, each in PRECISIONS.items() if each == dtype)


def class_of(card: Card) -> CardClass:
    """The class a card belongs to; the smallest takes all that are smaller still."""
    if card.kind == "cpu":
        return PROCESSOR
    return next((each for each in CARD_CLASSES if card.total_bytes >= each.least_gib * GIB), CARD_CLASSES[-1])


def _window_latents(card: Card, network: Outline, padded: tuple[int, int], dtype: torch.dtype) -> int:
    """The longest window whose tokens take no more than their share of the smallest card of the class."""
    group = class_of(card)
    budget = ACTIVATION_SHARE * group.least_gib * GIB
    worth = (latents for latents in WINDOWS if latents <= group.latents)
    fitting = (latents for latents in worth if _window_bytes(card, network, padded, latents, dtype) <= budget)
    return next(fitting, WINDOWS[-1])


def _window_bytes(
    card: Card, network: Outline, padded: tuple[int, int], latents: int, dtype: torch.dtype, fused: bool = False
) -> int:
    """Memory of one transformer call beside its weights; separate pictures take turns."""
    grid = (max(1, latents), padded[0] // SPATIAL_FACTOR, padded[1] // SPATIAL_FACTOR)
    return dit_peak_bytes(network.dit, grid, network.text_length, dtype, card.kind, fused=fused)


def _levels(card: Card) -> Iterator[Neutral]:
    for level in PROCESSOR_LEVELS if card.kind == "cpu" else LEVELS:
        for push in PUSHES:
            yield replace(level, push=push)


def _footprint(kind: str, card: Card, network: Outline, clip: Clip, semantic: Semantic, neutral: Neutral) -> Footprint:
    options = (card.kind, neutral.state, neutral.full_frames, neutral.block_bytes)
    return _known_footprint(kind, network.vae, clip.padded, semantic.dtype, options)


@functools.cache
def _known_footprint(kind: str, vae: VAEConfig, size: tuple[int, int], dtype: torch.dtype, options: tuple) -> Footprint:
    """Seconds of work for a large frame, so kept."""
    device, state, full_frames, block_bytes = options
    predict_one = encoder_footprint if kind == "encode" else decoder_footprint
    return predict_one(vae, *size, dtype, kind=device, state=state, full_frames=full_frames, block_bytes=block_bytes)


def _need(half: Footprint, states: int) -> Need:
    """What a half of the VAE takes; its footprint holds its state where `states` are on the device."""
    state = half.state if states else 0
    return Need(half.device - half.weights - state, state)


def _frame_bytes(clip: Clip, semantic: Semantic, push: int) -> int:
    """Host memory of frames and latents on their way."""
    source, result, padded = math.prod(clip.source), math.prod(clip.target), math.prod(clip.padded)
    waiting = (LOOK_AHEAD + QUEUED_PUSHES * push) * source * PIXEL_BYTES["source"]
    finished = QUEUED_PUSHES * push * result * PIXEL_BYTES["result"]
    latents = 2 * semantic.windowing.look_ahead * LATENT_CHANNELS * 4 * (padded // SPATIAL_FACTOR**2)
    return waiting + finished + latents


def _refusal(card: Card, clip: Clip, semantic: Semantic, least: Peaks, room: Room | None) -> str:
    needs = f"{_say_gib(least.host)} of main memory"
    if least.device:
        needs = f"{_say_gib(least.device + DEVICE_MARGIN)} on {card.name} and {needs}"
    there = "and even that was too much" if room is None else f"there are {_say_gib(room.host)} of main memory"
    if room is not None and least.device:
        there = f"free are {_say_gib(room.device)} and {_say_gib(room.host)}"
    return (
        f"{_say_size(clip.target)} with {semantic.weights} in {semantic.precision} needs at least {needs}; {there}. "
        "Choose a smaller new_resolution or batch_size, close other programs, or let RunComfy do it."
    )


def _say_size(size: tuple[int, int]) -> str:
    return f"{size[1]} × {size[0]}"


def _say_gib(amount: int) -> str:
    return f"{amount / GIB:.1f} GiB" if amount >= GIB / 10 else f"{amount / MIB:.0f} MiB"
