"""The first of the two commands with --serve: ComfyUI answers with these nodes, and is gone when the command ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from seedvr2_anywhere.tools.comfyui import ROOT

SECONDS = 240  # a limit for hangs
TERMINATED = 143  # as shells count it
NODE = "SeedVR2Anywhere.Upscale"


@pytest.mark.timeout(SECONDS)
def test_it_serves_until_it_is_ended(tmp_path):
    command = [sys.executable, str(ROOT / "tools" / "main_job.py"), "--serve"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout
        said = next(line for line in serving.stdout if "ComfyUI with this pack" in line)
        address = re.findall(r"http://[\d.:]+", said)[0]
        with urllib.request.urlopen(f"{address}/object_info/{NODE}", timeout=SECONDS) as answer:
            assert NODE in json.load(answer)
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(SECONDS) == TERMINATED
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=5)
