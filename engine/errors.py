"""What can go wrong in this room. All are ValueErrors, so that a caller may catch one or all.

EngineError
├── BadSize    a size that cannot be made, or frames whose sizes do not fit together
└── BadFrames  frames of a wrong shape or kind, or holding values that are not numbers
"""

from __future__ import annotations


class EngineError(ValueError):
    """Base of every error this room raises on purpose."""


class BadSize(EngineError):
    """A size of frames that is impossible, too large or does not fit its partner."""


class BadFrames(EngineError):
    """Frames of a wrong shape or kind, or with values that are not numbers."""
