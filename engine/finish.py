"""The network's frames made into those of the result: colour, strength, opacity, codes."""

from __future__ import annotations

import numpy as np
import torch

from .colour import transfer
from .hdr import keep_light
from .quantize import to_codes
from .resize import blend, resize
from .restore import Method, Piece, picture_of
from .wish import Wish


def finish_piece(piece: Piece, method: Method, wish: Wish) -> tuple[np.ndarray, ...]:
    """Restored frames made final: (frames uint16 [T,H,W,3], pts [T], alpha [T,H,W] if any)."""
    height, width = method.geometry.target
    reference = picture_of(piece.sources, method, (height, width))
    coloured = transfer(piece.restored, reference, wish.color_correction, source_size=method.geometry.source)
    finished = blend(coloured, reference, wish.strength)
    if method.keeps_hdr:
        own = resize(torch.from_numpy(np.stack([frame.pixels for frame in piece.sources])), height, width)
        finished = keep_light(finished, reference, own, method.curve)
    codes = to_codes(finished, torch.uint16)
    pts = np.array([frame.pts for frame in piece.sources], dtype=np.int64)
    alphas = [frame.alpha for frame in piece.sources if frame.alpha is not None]
    if not alphas:
        return codes.numpy(), pts
    alpha = resize(torch.from_numpy(np.stack(alphas)).unsqueeze(-1), height, width)
    return codes.numpy(), pts, to_codes(alpha, torch.uint16).squeeze(-1).numpy()
