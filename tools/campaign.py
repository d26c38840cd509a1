"""Long campaigns with random input; the tests run a fixed sample of each.

python3 tools/campaign.py media [COUNT]     damaged files through probe and read (2000)
python3 tools/campaign.py hosted [COUNT]    hosted runs with faults and crashes, then gone on with (1000)
python3 tools/campaign.py parity [COUNT]    random transformers against ComfyUI's own (40)
python3 tools/campaign.py kill [COUNT]      SIGKILL of the server at random moments of one run, gone on with (5)
python3 tools/campaign.py stop [COUNT]      how long an interrupt takes (5)
python3 tools/campaign.py memory            peak memory of the server for clips of 120 and 2,400 frames
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import pack
from environment import ENV, ROOT, reexec_inside

SEED = 20261123
PARITY_TOLERANCE = 2e-5


@dataclass(frozen=True)
class Campaign:
    """What to run, and how often unless told."""

    run: Callable[[int], int]
    count: int


def media(count: int) -> int:
    """Exit code 0 when no damaged file crashed, hung or took too much memory."""
    import campaign_fuzz

    summary = campaign_fuzz.run(count, SEED, keep=ROOT / ".work" / "fuzz_failures")
    print("\n".join([str(summary), *summary.failures]))
    return 1 if summary.failures else 0


def hosted(count: int) -> int:
    """Exit code 0 when nothing was lost or paid twice."""
    from seedvr2_anywhere.tests.cloud import campaign

    return campaign.main(count)


def parity(count: int) -> int:
    """Exit code 0 when every random transformer answers as ComfyUI's does."""
    from seedvr2_anywhere.benchmarks.parity_dit import compare

    worst = compare(SEED, count)
    print(f"{count} transformers: worst difference {worst:.1e}, allowed {PARITY_TOLERANCE:.0e}")
    return 0 if worst <= PARITY_TOLERANCE else 1


def kill(count: int) -> int:
    """Exit code 0 when a run that was killed again and again gives what an undisturbed one does."""
    import campaign_server

    print(campaign_server.kill(count, SEED))
    return 0


def memory(_count: int) -> int:
    """Prints the peaks."""
    import campaign_server

    print(campaign_server.memory())
    return 0


def stop(count: int) -> int:
    """Prints how long interrupts took."""
    import campaign_server

    print(campaign_server.stop(count, SEED))
    return 0


CAMPAIGNS = {
    "media": Campaign(media, 2000),
    "hosted": Campaign(hosted, 1000),
    "parity": Campaign(parity, 40),
    "kill": Campaign(kill, 5),
    "memory": Campaign(memory, 1),
    "stop": Campaign(stop, 5),
}


def main(arguments: list[str]) -> int:
    """Run the campaign named."""
    if not arguments or arguments[0] not in CAMPAIGNS:
        raise SystemExit(f"name a campaign: {', '.join(CAMPAIGNS)}")
    campaign = CAMPAIGNS[arguments[0]]
    return campaign.run(int(arguments[1]) if len(arguments) > 1 else campaign.count)


if __name__ == "__main__":
    ENV.mkdir(exist_ok=True)
    reexec_inside()
    pack.load()
    raise SystemExit(main(sys.argv[1:]))
