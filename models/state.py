"""What each convolution of the video VAE remembers of the frames before, on the compute device or in host memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor


class DeviceState:
    """Remembered frames [B,T,H,W,C] by layer, kept where they were computed."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Tensor] = {}

    def take(self, layer: Hashable) -> Tensor | None:
        """The frames `layer` remembers, on the compute device; None at the start of a clip."""
        return self._kept.get(layer)

    def keep(self, layer: Hashable, frames: Tensor) -> None:
        """Replace what `layer` remembers; the caller does not write to `frames` again."""
        self._kept[layer] = frames

    def forget(self, layer: Hashable) -> None:
        """Remember nothing for `layer`."""
        self._kept.pop(layer, None)

    def nbytes(self) -> int:
        """Bytes remembered at present."""
        return sum(frames.nbytes for frames in self._kept.values())


class HostState:
    """Remembered frames [B,T,H,W,C] by layer in host memory, moved while the device computes.

    Two layers' frames are on the device at a time: the one in use and the next, which is fetched ahead on a stream of
    its own. Layers run in the same order slice after slice, so the successor seen last is the one to fetch.
    """

    def __init__(self, device: torch.device) -> None:
        self._copier = _CudaCopier(device) if device.type == "cuda" else _PlainCopier(device)
        self._kept: dict[Hashable, Tensor] = {}
        self._fetched: dict[Hashable, Callable[[], Tensor]] = {}
        self._successor: dict[Hashable, Hashable] = {}
        self._previous: Hashable | None = None

    def take(self, layer: Hashable) -> Tensor | None:
        """The frames `layer` remembers, on the compute device; None at the start of a clip."""
        self._successor[self._previous] = layer
        self._previous = layer
        self._fetch(layer)
        self._fetch(self._successor.get(layer))
        ready = self._fetched.pop(layer, None)
        return ready() if ready else None

    def keep(self, layer: Hashable, frames: Tensor) -> None:
        """Send `frames` to host memory in the background; the caller does not write to them again."""
        self._kept[layer] = self._copier.to_host(frames, self._kept.get(layer))

    def forget(self, layer: Hashable) -> None:
        """Remember nothing for `layer`."""
        self._kept.pop(layer, None)
        self._fetched.pop(layer, None)

    def nbytes(self) -> int:
        """Bytes of host memory held at present."""
        return sum(frames.nbytes for frames in self._kept.values())

    def _fetch(self, layer: Hashable | None) -> None:
        if layer in self._kept and layer not in self._fetched:
            self._fetched[layer] = self._copier.to_device(self._kept[layer])


class _PlainCopier:
    """Copies that finish before they return: the CPU, and devices without streams of their own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._host = device if device.type == "meta" else torch.device("cpu")

    def to_host(self, frames: Tensor, previous: Tensor | None) -> Tensor:
        target = torch.empty_like(frames, device=self._host) if previous is None else previous
        return target.copy_(frames)

    def to_device(self, frames: Tensor) -> Callable[[], Tensor]:
        copied = torch.empty_like(frames, device=self._device).copy_(frames)
        return lambda: copied


class _CudaCopier:
    """Copies on a side stream between pinned memory and the device; their order on that stream keeps them safe."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def to_host(self, frames: Tensor, previous: Tensor | None) -> Tensor:
        target = torch.empty_like(frames, device="cpu", pin_memory=True) if previous is None else previous
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            target.copy_(frames, non_blocking=True)
        frames.record_stream(self._stream)
        return target

    def to_device(self, frames: Tensor) -> Callable[[], Tensor]:
        with torch.cuda.stream(self._stream):
            copied = frames.to(self._device, non_blocking=True)
            done = self._stream.record_event()
        return lambda: self._arrive(copied, done)

    def _arrive(self, copied: Tensor, done: torch.cuda.Event) -> Tensor:
        current = torch.cuda.current_stream(self._device)
        current.wait_event(done)
        copied.record_stream(current)
        return copied
