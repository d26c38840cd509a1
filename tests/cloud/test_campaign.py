"""A fixed sample of the random campaign: nothing lost, nothing paid twice, the same picture."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_FILE = Path(__file__).resolve().parent / "campaign.py"


def _campaign():
    name = "seedvr2_test_campaign"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _FILE)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.mark.parametrize("seed", range(40))
def test_a_disturbed_run_ends_like_an_undisturbed_one_and_pays_once(seed, tmp_path):
    campaign = _campaign()
    story = campaign.disturbed(seed, tmp_path)
    assert campaign.verdict(story) is None


def test_a_process_killed_again_and_again_ends_like_an_undisturbed_one(tmp_path):
    campaign = _campaign()
    story = campaign.killed(1, tmp_path, 300, presses=2)
    assert campaign.verdict(story) is None
    assert story.kills > 0


def test_the_verdict_sees_a_double_payment_and_a_lost_result():
    campaign = _campaign()
    good = campaign.Story(0, accepted=campaign.Counter({"1 of 1": 2}), is_identical=True)
    assert "paid 2 times, 1 allowed" in campaign.verdict(good)
    assert "not there" in campaign.verdict(campaign.Story(0))
    good.consents.update(["1 of 1"])
    assert campaign.verdict(good) is None
