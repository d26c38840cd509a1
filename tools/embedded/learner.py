"""Tensors that learn: the two optimisers, the rate's course, tamed gradients, the average over time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .muon import Muon

BETAS = (0.9, 0.995)  # Adam's, for biases and norms
LEAST_RATE, WARM_UP = 0.03, 40  # share of the full rate at the end; steps
MOST_GROWTH, FOLLOWING = 1.5, 0.05  # a tensor's gradient against what it usually is, and how fast that follows

State = dict[str, Tensor]


@dataclass(frozen=True)
class Course:
    """How long and how fast."""

    steps: int
    matrices: float  # rates
    vectors: float
    memory: float  # of the averaged tensors, the longest


class Learner:
    """Moves named tensors down a loss; `share` gives a matrix's rate against the full one."""

    def __init__(self, learned: State, course: Course, share: Callable[[str], float] = lambda key: 1.0) -> None:
        self.learned = {key: tensor.requires_grad_(True) for key, tensor in learned.items()}
        self.average = {key: tensor.detach().clone() for key, tensor in learned.items()}
        self._course, self._usual = course, torch.zeros(len(learned), device=next(iter(learned.values())).device)
        groups: dict[float, list[Tensor]] = {}
        for key, tensor in learned.items():
            if tensor.dim() > 1:
                groups.setdefault(share(key), []).append(tensor)
        self._matrices = Muon([{"params": same, "share": part} for part, same in groups.items()], course.matrices)
        vectors = [tensor for tensor in learned.values() if tensor.dim() < 2]
        self._vectors = torch.optim.Adam(vectors, lr=course.vectors, betas=BETAS)

    def step(self, number: int, loss: Tensor) -> None:
        """One update: step `number` of the course."""
        part = wave(number, self._course.steps)
        for group in self._matrices.param_groups:
            group["lr"] = group["share"] * self._course.matrices * part
        self._vectors.param_groups[0]["lr"] = self._course.vectors * part
        for tensor in self.learned.values():
            tensor.grad = None
        loss.backward()
        self._tame()
        self._matrices.step()
        self._vectors.step()
        memory = min(self._course.memory, (number + 1) / (number + 6))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.learned.values()), 1 - memory)

    def kept(self) -> dict[str, Any]:
        """All that changes, to be saved."""
        optimizers = [optimizer.state_dict() for optimizer in (self._matrices, self._vectors)]
        return {"learned": self.learned, "average": self.average, "usual": self._usual, "optimizers": optimizers}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on from what `kept` gave."""
        with torch.no_grad():
            for mine, saved in ((self.learned, kept["learned"]), (self.average, kept["average"])):
                for key, tensor in mine.items():
                    tensor.copy_(saved[key])
            self._usual.copy_(kept["usual"])
        for optimizer, state in zip((self._matrices, self._vectors), kept["optimizers"], strict=True):
            optimizer.load_state_dict(state)

    def _tame(self) -> None:
        """Each tensor's gradient at most a little larger than usual: flat pictures make some of them jump."""
        for tensor in self.learned.values():
            tensor.grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        gradients = [tensor.grad for tensor in self.learned.values() if tensor.grad is not None]
        sizes = torch.stack(torch._foreach_norm(gradients))
        usual = torch.where(self._usual > 0, self._usual, sizes)
        factors = (MOST_GROWTH * usual / sizes.clamp(min=1e-30)).clamp(max=1)
        torch._foreach_mul_(gradients, list(factors.unbind()))
        self._usual = usual + FOLLOWING * (torch.minimum(sizes, 2 * usual) - usual)


def wave(number: int, steps: int) -> float:
    """The rate at a step, against the full one."""
    fall = 0.5 + 0.5 * math.cos(math.pi * number / steps)
    return min(1, (number + 1) / WARM_UP) * (LEAST_RATE + (1 - LEAST_RATE) * fall)
