"""A small checkpoint with made-up weights, in the official key layout, for trying the pipeline before real weights.

    python tools/stand_in.py FILE

It restores nothing. Its decoder answers with weak texture, so that a result is the source's own low frequencies.
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    from . import pack
except ImportError:  # run as a script
    import pack

pack.load()

from seedvr2_anywhere.engine.embedded import make_stand_in as make_weights  # noqa: E402
from seedvr2_anywhere.engine.embedded import write_stand_in as save  # noqa: E402

__all__ = ["make_weights", "save"]

if __name__ == "__main__":
    save(Path(sys.argv[1]))
