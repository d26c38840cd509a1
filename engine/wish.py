"""What the user asks for."""

from __future__ import annotations

from dataclasses import dataclass

from .sizes import target_size


@dataclass(frozen=True)
class Wish:
    """Names and meaning as on the Upscale node."""

    new_resolution: int = 1080
    size_by: str = "short side"
    scale: float = 2.0
    max_long_side: int = 0
    seed: int = 1245
    batch_size: int = 0
    cfg_scale: float = 1.0
    strength: float = 1.0
    color_correction: str = "two_scale"

    def target(self, source: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the result for a source (height, width). Raises BadSize."""
        return target_size(
            source, size_by=self.size_by, resolution=self.new_resolution, scale=self.scale,
            max_long_side=self.max_long_side,
        )  # fmt: skip
