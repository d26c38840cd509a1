"""What the documents show is true: the script runs as printed, the commands are in their place, links lead on."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from seedvr2_anywhere import media
from seedvr2_anywhere.tools.comfyui import ROOT
from seedvr2_anywhere.tools.templates import WORKFLOWS

SECONDS = 240
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_script_fetches_a_result(server, tmp_path):
    (script,) = blocks("docs/scripting.md", "python")
    (tmp_path / "fetch.py").write_text(script, encoding="utf-8")
    clip = tmp_path / "holiday.mp4"
    clip.write_bytes((WORKFLOWS / "seedvr2_example.mp4").read_bytes())
    prompt = json.loads((WORKFLOWS / "api" / "video_upscale.json").read_text(encoding="utf-8"))
    prompt["33"]["inputs"]["frame_load_cap"] = 2
    (tmp_path / "workflow.json").write_text(json.dumps(prompt), encoding="utf-8")
    command = [sys.executable, "fetch.py", server.address, clip.name, "workflow.json", "36"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert media.probe(tmp_path / done.stdout.strip()).size == (64, 36)
    assert done.stdout.startswith("holiday_upscaled")


def test_the_two_commands_are_one_block_of_two_lines():
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## Two commands\n")[1].split("\n## ")[0]
    found = re.findall(r"^```bash\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found == ["python3 tools/main_job.py\npython3 tools/check.py\n"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_named_in_documents_exist(document):
    text = document.read_text(encoding="utf-8")
    pictures = re.findall(r"\]\(([^)#:]+)\)", text)
    named = re.findall(r"`((?:docs|tools|workflows|benchmarks|tests)/[\w./]+\.\w+)`", text)
    assert [name for name in pictures if not (document.parent / name).exists()] == []
    assert [name for name in named if not (ROOT / name).exists()] == []
