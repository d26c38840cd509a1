"""Words and size of what people see: both languages say everything, nodes have help, the page's code stays small."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = ROOT / "tests" / "nodes" / "object_info.json"
LANGUAGES = ("en", "zh")
PARTS = sorted((ROOT / "js").rglob("*.mjs"))
SAID = (r"(?:say|button|act|symbol)\(\s*'([^']+)'", r"symbol\('[^']*', '([^']+)'")
MOST_LINES, MOST_LINES_A_FILE = 900, 250


def locale(language: str, file: str) -> dict:
    """A file of the pack's locales."""
    return json.loads((ROOT / "locales" / language / file).read_text(encoding="utf-8"))


def inputs_of(inputs: dict, prefix: str = "") -> dict[str, str]:
    """name → tooltip of all inputs, those behind a choice included."""
    found = {}
    for kind in ("required", "optional"):
        for name, (_, *rest) in inputs.get(kind, {}).items():
            options = rest[0] if rest else {}
            found[prefix + name] = options.get("tooltip", "")
            for choice in options.get("options") or []:
                if isinstance(choice, dict):
                    found |= inputs_of(choice["inputs"], f"{prefix}{name}.")
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_widget_and_output_has_a_name_and_a_tooltip(language):
    stored = locale(language, "nodeDefs.json")
    for node, info in json.loads(SNAPSHOT.read_text(encoding="utf-8")).items():
        known = stored[node.replace(".", "_")]
        expected = {name.replace(".", "_"): tooltip for name, tooltip in inputs_of(info["input"]).items()}
        assert set(known["inputs"]) == set(expected)
        assert len(known["outputs"]) == len(info["output"])
        assert all(one["name"] and one["tooltip"] for one in known["inputs"].values())
        if language == "en":
            assert {name: one["tooltip"] for name, one in known["inputs"].items()} == expected


def test_every_setting_has_a_name_and_a_tooltip_in_both_languages():
    source = (ROOT / "js" / "seedvr2.js").read_text(encoding="utf-8")
    ids = {f"SeedVR2Anywhere_{name}" for name in re.findall(r"setting\('(\w+)'", source)}
    assert len(ids) == 9
    for language in LANGUAGES:
        stored = locale(language, "settings.json")
        assert set(stored) == ids
        assert all(one["name"] and one["tooltip"] for one in stored.values())


def test_all_texts_of_the_pages_own_parts_are_translated():
    said = {text for file in PARTS for how in SAID for text in re.findall(how, file.read_text(encoding="utf-8"))}
    known = json.loads((ROOT / "js" / "words" / "zh.json").read_text(encoding="utf-8"))
    assert len(said) > 40
    assert [text for text in sorted(said) if re.search("[A-Za-z]{2}", text) and text not in known] == []
    placeholders = re.compile(r"\{\w+\}")
    assert all(set(placeholders.findall(text)) == set(placeholders.findall(other)) for text, other in known.items())


def test_every_node_has_a_help_page_and_its_pictures_are_there():
    docs = ROOT / "js" / "docs"
    for node in ("LoadVideo", "Upscale", "VideoCombine", "Compare"):
        text = (docs / f"SeedVR2Anywhere.{node}.md").read_text(encoding="utf-8")
        pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
        assert pictures and all((docs / picture).stat().st_size > 1000 for picture in pictures)


def test_the_pages_code_stays_small():
    sizes = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in [*PARTS, ROOT / "js" / "seedvr2.js"]}
    assert sum(sizes.values()) <= MOST_LINES
    assert max(sizes.values()) <= MOST_LINES_A_FILE
