"""The video VAE against ComfyUI's own module: same process, same weights, taking turns.

.env/venv/bin/python benchmarks/network.py vae                CPU, float32: 21×256×256
.env/venv/bin/python benchmarks/network.py vae --frames 5 --size 128 --turns 3
.env/venv/bin/python benchmarks/network.py vae --device cuda  bfloat16, 720p and 1080p: TFLOP/s, peak memory against
                                                              the prediction, state on the host
"""

from __future__ import annotations

import argparse
import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..models import load_vae
from ..models.vae import VideoVAE
from ..models.vae_config import VAEConfig, expected_vae_keys
from ..models.vae_memory import decoder_footprint, encoder_footprint
from .native_seedvr2 import comfy, native_vae
from .paired import matmul_rate, time_call, time_pair

TARGETS = {"cpu": {"decode": 1.2, "encode": 1.0}, "cuda": {"decode": 2.0, "encode": 1.5}}
FRACTION_OF_MATMUL = 0.5
GPU_SIZES = [(720, 1280), (1088, 1920)]
GPU_FRAMES = 21
GIB = 1 << 30
TIGHT = {"state": "host", "full_frames": 1, "block_bytes": 128 << 20}  # the least device memory at full speed of copies


def random_vae_weights(config: VAEConfig, seed: int = 0) -> dict[str, Tensor]:
    """Weights that keep activations of order 1."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in expected_vae_keys(config).items():
        noise = torch.randn(shape, generator=generator)
        around_one = "norm" in key and key.endswith("weight")
        state[key] = noise / math.prod(shape[1:]) ** 0.5 if len(shape) > 1 else 0.1 * noise + around_one
    return state


def clips(frames: int, height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """A video [1,3,T,H,W] and a latent [1,16,t,h,w] of its size, of noise."""
    video = torch.rand(1, 3, frames, height, width).to(like) * 2 - 1
    latent = torch.randn(1, 16, (frames + 3) // 4, height // 8, width // 8).to(like)
    return video, latent


def compare(device: str, frames: int, height: int, width: int, turns: int) -> None:
    """Both directions in turns; the ratio is theirs ÷ ours."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    state = {key: tensor.to(device, dtype) for key, tensor in random_vae_weights(VAEConfig()).items()}
    ours, theirs = load_vae(state, device=device, dtype=dtype), native_vae(VAEConfig(), state)
    video, latent = clips(frames, height, width, next(iter(state.values())))
    calls = {
        "decode": (partial(ours.decode, latent), partial(theirs.decode, latent)),
        "encode": (partial(ours.encode, video), partial(theirs.encode, video)),
    }
    for name, (our_call, their_call) in calls.items():
        result = time_pair(our_call, their_call, turns)
        target = TARGETS[device][name]
        verdict = "reached" if result.ratio >= target else "MISSED"
        print(f"{name} {frames}×{height}×{width}: {result}; target {target}× {verdict}", flush=True)
        flops = count_flops(name, (video if name == "encode" else latent).shape)
        print(f"    {flops / result.ours_s / 1e12:.2f} TFLOP/s", flush=True)


def count_flops(name: str, shape: torch.Size) -> int:
    """Arithmetic of ours for a clip of this shape, counted on tensors without contents."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        vae = VideoVAE(VAEConfig(), nn)
        getattr(vae, name)(torch.empty(shape))
    return counter.get_total_flops()


def measure_on_gpu(vae: VideoVAE, height: int, width: int) -> None:
    """Rate against a matrix product and peak memory against the prediction, state on the device and on the host."""
    ceiling = matmul_rate("cuda", torch.bfloat16)
    video, latent = clips(GPU_FRAMES, height, width, next(vae.parameters()))
    kinds = {
        "decode": (vae.decoder_stream, latent, decoder_footprint, vae.decoder),
        "encode": (vae.encoder_stream, video, encoder_footprint, vae.encoder),
    }
    for name, (open_stream, clip, footprint, half) in kinds.items():
        for options in ({}, TIGHT):
            open_stream(**options).push(clip)  # kernels are built and host memory is pinned once
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            resident = torch.cuda.memory_allocated() - sum(parameter.nbytes for parameter in half.parameters())
            seconds = time_call(lambda: open_stream(**options).push(clip))  # noqa: B023 - called at once
            peak = torch.cuda.max_memory_allocated() - resident
            predicted = footprint(vae.config, height, width, torch.bfloat16, **options)
            rate = count_flops(name, clip.shape) / seconds / 1e12
            print(f"{name} {height}×{width} {options}: {rate:.0f} TFLOP/s = {rate / ceiling:.0%} of matmul "
                  f"(target {FRACTION_OF_MATMUL:.0%}); peak {peak / GIB:.2f} GiB, predicted "
                  f"{predicted.device / GIB:.2f} GiB; host {predicted.host / GIB:.2f} GiB", flush=True)  # fmt: skip


def main(arguments: list[str]) -> None:
    """Run what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--frames", type=int, default=21)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    comfy()
    with torch.no_grad():
        if options.device == "cpu":
            return compare("cpu", options.frames, options.size, options.size, options.turns)
        for height, width in GPU_SIZES:
            compare("cuda", GPU_FRAMES, height, width, options.turns)
            weights = {key: tensor.bfloat16() for key, tensor in random_vae_weights(VAEConfig()).items()}
            measure_on_gpu(load_vae(weights, device="cuda"), height, width)
    return None
