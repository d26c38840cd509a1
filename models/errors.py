"""What can go wrong in this room. All are ValueErrors, so that a caller may catch one or all.

ModelError
├── BadCheckpoint          the file is broken, or is not the model it should be
├── UnsupportedCheckpoint  a known kind of file that cannot be used here; the message names what can
└── BadInput               an argument of a call does not fit the model
"""

from __future__ import annotations


class ModelError(ValueError):
    """Base of every error this room raises on purpose."""


class BadCheckpoint(ModelError):
    """A weights file that is damaged, incomplete, mixed or not SeedVR2."""


class UnsupportedCheckpoint(ModelError):
    """A weights file of a known kind which cannot be used as it is."""


class BadInput(ModelError):
    """A tensor or number handed to the network that it cannot take."""
