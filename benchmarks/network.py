"""Measurements of the network against ComfyUI's own modules: `python benchmarks/network.py PART [options]`.

A part is a neighbour called network_PART.py with a `main(arguments)`; `network.py PART --help` tells its options.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACK = "seedvr2_anywhere"


def load_pack() -> None:
    """Import the pack by file location, as ComfyUI does, so that its folder stays off sys.path."""
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec and spec.loader
    sys.modules[PACK] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACK])


def main(arguments: list[str]) -> None:
    """Run one part with the arguments that follow its name."""
    parts = sorted(file.stem.removeprefix("network_") for file in Path(__file__).parent.glob("network_*.py"))
    if not arguments or arguments[0] not in parts:
        raise SystemExit(f"name a part: {', '.join(parts)}")
    sys.path.pop(0)  # this folder, put there by Python
    load_pack()
    importlib.import_module(f"{PACK}.benchmarks.network_{arguments[0]}").main(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
