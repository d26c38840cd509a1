"""Two hundred damaged files, the same ones each time; tools/campaign_fuzz.py opens two thousand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COUNT, SEED = 200, 7


@pytest.mark.skipif(sys.platform == "win32", reason="the campaign's watchdog waits on pipes")
def test_damaged_files_never_crash_hang_or_eat_memory():
    spec = importlib.util.spec_from_file_location("campaign_fuzz", ROOT / "tools" / "campaign_fuzz.py")
    assert spec and spec.loader
    sys.modules["campaign_fuzz"] = campaign = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(campaign)
    summary = campaign.run(COUNT, SEED)
    assert summary.count == COUNT and summary.failures == [], "\n".join([str(summary), *summary.failures])
    assert summary.outcomes["read"] > COUNT // 5 and summary.outcomes["UnreadableFile"] > COUNT // 10, str(summary)
