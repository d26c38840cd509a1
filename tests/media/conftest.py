"""Let the tests of this folder import the modules that make their clips; tests/ is no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
