"""How much of a shot must be looked at again so that work can go on in its middle.

The VAE's convolutions look two frames back and never ahead, its norms and attention at single frames only. So what a
frame depends on ends some frames before it, and a stream that begins there gives the same from that frame on.
"""

from __future__ import annotations

import math
from fractions import Fraction

from ..models.vae_config import TEMPORAL_FACTOR, VAEConfig

LOOK_BACK = 2  # frames before, of a convolution three frames deep
PER_BLOCK = 2  # convolutions
MIDDLE_BLOCKS = 2
ALIGNMENT = 1  # latents: a stream's first one stands for one frame, not four, and is not like the others


def encoder_field(config: VAEConfig) -> int:
    """Latents before the first wanted one from which an encoder must begin (29 for the released VAE)."""
    frames, rate = LOOK_BACK, 1  # conv_in; source frames per frame of the level
    for level in range(len(config.widths)):
        frames += LOOK_BACK * PER_BLOCK * config.encoder_blocks * rate
        if level < len(config.down_frames) and config.down_frames[level] > 1:
            frames += LOOK_BACK * rate
            rate *= config.down_frames[level]
    frames += LOOK_BACK * (PER_BLOCK * MIDDLE_BLOCKS + 1) * rate  # the middle and conv_out
    return math.ceil(Fraction(frames, TEMPORAL_FACTOR)) + ALIGNMENT


def decoder_field(config: VAEConfig) -> int:
    """Restored latents before the first wanted one that a decoder must see again (38 for the released VAE)."""
    latents, rate = Fraction(LOOK_BACK * (1 + PER_BLOCK * MIDDLE_BLOCKS)), 1  # conv_in and the middle
    for level in range(len(config.widths)):
        latents += Fraction(LOOK_BACK * PER_BLOCK * config.decoder_blocks, rate)
        if level < len(config.up_frames):
            rate *= config.up_frames[level]
            latents += Fraction(LOOK_BACK, rate)  # the up-sampler
    latents += Fraction(LOOK_BACK, rate)  # conv_out
    return math.ceil(latents) + ALIGNMENT
