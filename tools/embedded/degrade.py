"""Clean clips made to look like a user's: made smaller with various kernels, blurred, noisy, compressed.

Then they are brought back to the clean size as the engine does it, so a sample is what the network will meet.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import av
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from seedvr2_anywhere.engine.resize import resize
from torch import Tensor

BLUR_RADIUS = 4
SHRINKERS = ("area", "bicubic", "bilinear")
MOST_BLUR = 0.6  # sigma in pixels of the small picture
MOST_NOISE = 8 / 255
CRF = (16, 32)  # of H.264; 23 is its usual one
JPEG_QUALITY = (45, 95)


@dataclass(frozen=True)
class Harm:
    """What is done to one clip."""

    factor: float
    shrinker: str = "bicubic"
    blur: float = 0.0  # sigma before shrinking, in pixels of the small picture
    noise: float = 0.0  # sigma of 0..1
    crf: int | None = None  # H.264, as the last step
    jpeg: int | None = None  # quality, each frame by itself
    seed: int = 0


def draw_harm(random: np.random.Generator, factors: tuple[float, ...] = (2, 3, 4)) -> Harm:
    """A random degradation."""
    compression = random.random()
    return Harm(
        factor=float(random.choice(factors)),
        shrinker=str(random.choice(SHRINKERS)),
        blur=random.uniform(0.2, MOST_BLUR) if random.random() < 0.4 else 0.0,
        noise=random.uniform(0, MOST_NOISE) if random.random() < 0.6 else 0.0,
        crf=int(random.integers(*CRF)) if compression < 0.6 else None,
        jpeg=int(random.integers(*JPEG_QUALITY)) if compression > 0.8 else None,
        seed=int(random.integers(2**31)),
    )


def degrade(clip: Tensor, harm: Harm) -> Tensor:
    """Clean [3,T,H,W] in −1..1 → what the network would be given for it, of the same shape."""
    small = torch.from_numpy(shrink(clip, harm))
    return resize(small, *clip.shape[2:]).permute(3, 0, 1, 2) * 2 - 1


def shrink(clip: Tensor, harm: Harm) -> np.ndarray:
    """Clean [3,T,H,W] in −1..1 → a user's small clip [T,h,w,3] uint8, with even sides."""
    frames = (clip.transpose(0, 1) + 1) / 2
    height, width = (2 * round(side / harm.factor / 2) for side in clip.shape[2:])
    if harm.blur:
        frames = _blur(frames, harm.blur * harm.factor)
    options = {} if harm.shrinker == "area" else {"antialias": True, "align_corners": False}
    frames = F.interpolate(frames, (height, width), mode=harm.shrinker, **options)
    if harm.noise:
        generator = torch.Generator().manual_seed(harm.seed)
        grain = torch.randn((frames.shape[0], 4, height, width), generator=generator)
        frames = frames + harm.noise * (0.8 * grain[:, :1] + 0.6 * grain[:, 1:])
    codes = (frames.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    return compress(codes, harm)


def compress(codes: np.ndarray, harm: Harm) -> np.ndarray:
    """Frames [T,h,w,3] uint8 through the codec, if any."""
    if harm.jpeg:
        return np.stack([_jpeg(frame, harm.jpeg) for frame in codes])
    return _h264(codes, harm.crf) if harm.crf else codes


def _blur(frames: Tensor, sigma: float) -> Tensor:
    radius = max(1, min(round(3 * sigma), 2 * BLUR_RADIUS))
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = F.pad(frames, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[..., None], groups=3), kernel[:, :, None], groups=3)


def _jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def _h264(codes: np.ndarray, crf: int) -> np.ndarray:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = *codes.shape[1:3], "yuv420p"
        stream.thread_count = 1
        stream.options = {"crf": str(crf), "preset": "veryfast", "x264-params": "scenecut=0"}
        for frame in codes:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as read:
        read.streams.video[0].thread_count = 1
        return np.stack([frame.to_ndarray(format="rgb24") for frame in read.decode(video=0)])
