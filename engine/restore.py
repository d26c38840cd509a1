"""One shot through the network: frames in, restored frames out, in memory that does not grow with the shot."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from . import colour
from .denoise import denoise
from .network import Network
from .quantize import to_float
from .resize import Geometry, crop, pad, resize, tail_indices
from .windows import Windowing

PUSH_FRAMES = 4  # resized together; one latent's worth


@dataclass(frozen=True)
class Look:
    """What the result shall look like, beyond its size."""

    colour_method: str = "two_scale"
    strength: float = 1.0
    cfg_scale: float = 1.0
    seed: int = 1245


@dataclass(frozen=True)
class Layout:
    """How a shot is worked through: windows (semantic), and the options of the VAE's streams (neutral)."""

    windowing: Windowing
    encoder: dict[str, object] = field(default_factory=dict)
    decoder: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Restored:
    """Frames of the network's answer [T,H,W,3] in 0..1, cut to size, with the source frames [T,h,w,3] they came from."""

    frames: Tensor
    source: np.ndarray
