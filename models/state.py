"""What each convolution of the video VAE remembers of the frames before, on the compute device or in host memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor


class DeviceState:
    """The last frames [B,H,W,C] of each layer's input, kept where they were computed."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, list[Tensor]] = {}

    def take(self, layer: Hashable) -> list[Tensor]:
        """The frames `layer` remembers, oldest first, on the compute device; none at the start of a clip."""
        return self._kept.get(layer, [])

    def keep(self, layer: Hashable, new: list[Tensor], count: int) -> list[Tensor]:
        """Let `layer` remember the last `count` of its frames and `new` ones; returns those now forgotten.

        The caller does not write to `new` again.
        """
        frames = self._kept.get(layer, []) + new
        self._kept[layer] = frames[-count:]
        return frames[:-count]

    def forget(self, layer: Hashable) -> None:
        """Remember nothing for `layer`."""
        self._kept.pop(layer, None)

    def nbytes(self) -> int:
        """Bytes remembered at present."""
        return sum(frame.nbytes for frames in self._kept.values() for frame in frames)


class HostState:
    """The last frames [B,H,W,C] of each layer's input in host memory, moved while the device computes.

    Two layers' frames are on the device at a time: of the one in use and of the next, which is fetched ahead on a
    stream of its own. Layers run in the same order slice after slice, so the successor seen last is the one to fetch.
    """

    def __init__(self, device: torch.device) -> None:
        self._copier = _CudaCopier(device) if device.type == "cuda" else _PlainCopier(device)
        self._kept: dict[Hashable, list[Tensor]] = {}
        self._fetched: dict[Hashable, Callable[[], list[Tensor]]] = {}
        self._successor: dict[Hashable, Hashable] = {}
        self._previous: Hashable | None = None

    def take(self, layer: Hashable) -> list[Tensor]:
        """The frames `layer` remembers, oldest first, on the compute device; none at the start of a clip."""
        self._successor[self._previous] = layer
        self._previous = layer
        self._fetch(layer)
        self._fetch(self._successor.get(layer))
        arrive = self._fetched.pop(layer, None)
        return arrive() if arrive else []

    def keep(self, layer: Hashable, new: list[Tensor], count: int) -> list[Tensor]:
        """Send `new` frames to host memory in the background, so that `layer` remembers the last `count`.

        The caller does not write to `new` again. Returns nothing to reuse: memory of forgotten frames is taken here.
        """
        frames = self._kept.get(layer, [])
        for frame in new:
            spare = frames[0] if len(frames) == count else None
            frames = frames[1:] if spare is not None else frames
            frames = [*frames, self._copier.to_host(frame, spare)]
        self._kept[layer] = frames
        return []

    def forget(self, layer: Hashable) -> None:
        """Remember nothing for `layer`."""
        self._kept.pop(layer, None)
        self._fetched.pop(layer, None)

    def nbytes(self) -> int:
        """Bytes of host memory held at present."""
        return sum(frame.nbytes for frames in self._kept.values() for frame in frames)

    def _fetch(self, layer: Hashable | None) -> None:
        if layer in self._kept and layer not in self._fetched:
            self._fetched[layer] = self._copier.to_device(self._kept[layer])


class _PlainCopier:
    """Copies that finish before they return: the CPU, and devices without streams of their own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._host = device if device.type == "meta" else torch.device("cpu")

    def to_host(self, frame: Tensor, spare: Tensor | None) -> Tensor:
        target = torch.empty_like(frame, device=self._host) if spare is None else spare
        return target.copy_(frame)

    def to_device(self, frames: list[Tensor]) -> Callable[[], list[Tensor]]:
        copied = [torch.empty_like(frame, device=self._device).copy_(frame) for frame in frames]
        return lambda: copied


class _CudaCopier:
    """Copies on a side stream between pinned memory and the device; their order on that stream keeps them safe."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def to_host(self, frame: Tensor, spare: Tensor | None) -> Tensor:
        target = torch.empty_like(frame, device="cpu", pin_memory=True) if spare is None else spare
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            target.copy_(frame, non_blocking=True)
        frame.record_stream(self._stream)
        return target

    def to_device(self, frames: list[Tensor]) -> Callable[[], list[Tensor]]:
        with torch.cuda.stream(self._stream):
            copied = [frame.to(self._device, non_blocking=True) for frame in frames]
            done = self._stream.record_event()

        def arrive() -> list[Tensor]:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(done)
            for frame in copied:
                frame.record_stream(current)
            return copied

        return arrive
