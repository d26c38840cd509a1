"""The text the model was trained with: two fixed embeddings, kept inside some checkpoints or in a small file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .checkpoint import check_finite, open_state_dict
from .errors import BadCheckpoint

POSITIVE_KEYS = ("positive_conditioning", "pos_emb")  # in Comfy-Org's files, and as the original files are named
NEGATIVE_KEYS = ("negative_conditioning", "neg_emb")
CONDITIONING_KEYS = (*POSITIVE_KEYS, *NEGATIVE_KEYS)


@dataclass(frozen=True)
class TextConditioning:
    """Embeddings [L, text width]; the negative one is needed for guidance only."""

    positive: Tensor
    negative: Tensor | None


def read_text_conditioning(weights: str | os.PathLike[str] | Mapping[str, Tensor]) -> TextConditioning | None:
    """The embeddings a checkpoint or small file carries, None when it has none; raises BadCheckpoint when damaged."""
    state, name = open_state_dict(weights)
    positive, negative = _first_of(state, POSITIVE_KEYS), _first_of(state, NEGATIVE_KEYS)
    if positive is None:
        return None
    for role, text in (("positive", positive), ("negative", negative)):
        if text is not None and (text.ndim != 2 or not text.numel()):
            raise BadCheckpoint(f"{name}: the {role} conditioning has shape {list(text.shape)}, expected [L, width].")
    check_finite({key: state[key] for key in CONDITIONING_KEYS if key in state}, name)
    return TextConditioning(positive, negative)


def without_conditioning(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without its text embeddings."""
    return {key: tensor for key, tensor in state.items() if key not in CONDITIONING_KEYS}


def _first_of(state: Mapping[str, Tensor], keys: tuple[str, ...]) -> Tensor | None:
    return next((state[key] for key in keys if key in state), None)
