"""From velocity to a restored latent: Euler steps on the straight line between noise and data.

x(τ) = (1 − τ/1000)·data + τ/1000·noise, and the network predicts noise − data. SeedVR2 takes a single step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .errors import BadInput

NOISE_TIMESTEP = 1000.0  # timestep of pure noise
# condition noise: shift of the timestep by amount of picture, lines through (256², 1) and (1024², 3.2) for images,
# (256²·37, 1) and (1280·720·145, 5) for video
IMAGE_LINE = ((256**2, 1.0), (1024**2, 3.2))
VIDEO_LINE = ((256**2 * 37, 1.0), (1280 * 720 * 145, 5.0))
PIXELS_PER_LATENT, FRAMES_PER_LATENT = 8, 4

Velocity = Callable[[Tensor, float], Tensor]  # (x, timestep) → velocity


def timesteps(steps: int) -> list[float]:
    """Equal steps from 1000 down, without the final 0; raises BadInput for less than one."""
    if steps < 1:
        raise BadInput(f"steps is {steps}, expected 1 or more.")
    return [NOISE_TIMESTEP * (1 - step / steps) for step in range(steps)]


def sample(velocity: Velocity, noise: Tensor, steps: int = 1) -> Tensor:
    """Restored latent from noise of the same shape; with one step it is noise − velocity(noise, 1000)."""
    x, schedule = noise, timesteps(steps)
    for now, following in zip(schedule, [*schedule[1:], 0.0], strict=True):
        v = velocity(x, now)
        data = x - (now / NOISE_TIMESTEP) * v
        if not following:
            return data
        x = data + (following / NOISE_TIMESTEP) * v  # noise − data is v itself, so the line needs no second end
    return x


def guide(positive: Tensor, negative: Tensor, scale: float, rescale: float = 0.0) -> Tensor:
    """Classifier-free guidance of velocities [B,16,T,H,W]; `rescale` 0..1 pulls the spread back to the positive's."""
    guided = negative + scale * (positive - negative)
    if not rescale:
        return guided
    spread = positive.std(dim=1, keepdim=True) / guided.std(dim=1, keepdim=True)  # over channels, at each position
    return guided * (rescale * spread + (1 - rescale))


def condition_for(latent: Tensor) -> Tensor:
    """Condition [B,17,T,H,W] of an encoded video [B,16,T,H,W]: the latent and a mask of ones, restore everything."""
    return torch.cat([latent, torch.ones_like(latent[:, :1])], dim=1)


def with_condition_noise(latent: Tensor, noise: Tensor, amount: float) -> Tensor:
    """The encoded video blended with noise before it becomes the condition; `amount` 0..1, 0 leaves it as it is."""
    timestep = shift_timestep(NOISE_TIMESTEP * amount, timestep_shift(*latent.shape[2:]))
    share = timestep / NOISE_TIMESTEP
    return (1 - share) * latent + share * noise


def timestep_shift(frames: int, height: int, width: int) -> float:
    """Shift factor for a latent's size; larger pictures bear more condition noise. Never used for sampling."""
    area = height * width * PIXELS_PER_LATENT**2
    pixel_frames = FRAMES_PER_LATENT * (frames - 1) + 1
    (x0, y0), (x1, y1) = IMAGE_LINE if frames == 1 else VIDEO_LINE
    return y0 + (area * pixel_frames - x0) * (y1 - y0) / (x1 - x0)


def shift_timestep(timestep: float, shift: float) -> float:
    """A timestep 0..1000 moved towards noise by a shift factor."""
    share = timestep / NOISE_TIMESTEP
    return NOISE_TIMESTEP * shift * share / (1 + (shift - 1) * share)
