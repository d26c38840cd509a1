"""Import this pack under its name from any script in this folder, as ComfyUI does: by file location."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACK = "seedvr2_anywhere"


def load() -> None:
    """Make `import seedvr2_anywhere` work; the pack's own folder stays off sys.path."""
    if PACK in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec and spec.loader
    sys.modules[PACK] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACK])
