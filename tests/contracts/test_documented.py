"""What the pages say exists: commands, options, targets, files, settings."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from docs import generate_cli, generate_config, generate_example, generate_platforms
from edge.settings import KINDS, load_settings, scalar_settings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")])
TEXT = {"", ".c", ".conf", ".h", ".json", ".md", ".py", ".service", ".toml", ".yaml"}
PROGRAMS = tuple(generate_cli.PROGRAMS)


def fenced_lines(text: str) -> Iterator[str]:
    """Lines of code blocks, without trailing remarks; a line that ends in a backslash goes on."""
    for block in re.findall(r"^```[^\n`]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"\s+#.*$", "", line).strip()


def command_lines() -> list[tuple[str, str]]:
    """(page, command line) of everything in a code block that starts one of our programs."""
    return [
        (page.name, line)
        for page in PAGES
        if page.name != "cli.md"
        for line in fenced_lines(page.read_text(encoding="utf-8"))
        if line.split(" ")[0] in PROGRAMS
    ]


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    return dict(generate_cli.commands())


def test_command_reference_is_current():
    assert generate_cli.PAGE.read_text(encoding="utf-8") == generate_cli.page(), "run: make docs"


def test_configuration_reference_is_current():
    assert generate_config.PAGE.read_text(encoding="utf-8") == generate_config.page(), "run: make docs"


def test_table_of_boards_is_current():
    text = generate_platforms.PAGE.read_text(encoding="utf-8")
    assert text == generate_platforms.page(text), "run: make docs"


def test_every_command_and_option_says_what_it_does(commands: dict[str, Any]):
    page = generate_cli.PAGE.read_text(encoding="utf-8")
    for name, command in commands.items():
        assert re.search(rf"^#+ {re.escape(name)}$", page, re.MULTILINE), name
        assert (command.help or "").strip(), f"{name} has no help"
        for parameter in command.params:
            if not getattr(parameter, "hidden", False):
                assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"


def test_the_commands_of_the_design_exist(commands: dict[str, Any]):
    edge = "run demo check replay ports schema verify bench subscribe"
    trainer = "data train export evaluate keygen"
    bridge = "simulate monitor ports"
    expected = {f"edge-agent {name}" for name in edge.split()}
    expected |= {f"trainer {name}" for name in trainer.split()}
    expected |= {f"firmware-bridge {name}" for name in bridge.split()}
    assert expected <= set(commands)


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_documented_command_line_exists(page: str, line: str, commands: dict[str, Any]):
    words = shlex.split(line)
    name, rest = words[0], words[1:]
    while rest and f"{name} {rest[0]}" in commands:
        name, rest = f"{name} {rest[0]}", rest[1:]
    assert name not in PROGRAMS, f"{page}: {line}: no such command"
    options = {option for p in commands[name].params for option in (*p.opts, *p.secondary_opts)}
    for word in rest:
        if word.startswith("--"):
            assert word.split("=")[0] in options, f"{page}: {line}: no option {word}"


def test_pages_show_commands_at_all():
    assert len(command_lines()) > 15


def test_make_targets_of_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert {"deps", "demo", "test", "lint", "docs", "bench", "help"} <= targets
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"`make ([a-z-]+)", text)) | {
            line.split()[1] for line in fenced_lines(text) if line.startswith("make ")
        }
        assert named <= targets, f"{page.name} names {named - targets}"


def test_links_between_files_lead_somewhere():
    seen = 0
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                seen += 1
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
    assert seen > 10


def test_decisions_have_their_four_parts():
    decisions = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert len(decisions) >= 2
    numbers = [path.name[:4] for path in decisions]
    assert len(set(numbers)) == len(numbers), "two decisions share a number"
    for path in decisions:
        headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings == ["Context", "Decision", "Is / Is not", "Consequences"], path.name


def test_example_configuration_is_current_and_loads():
    example = ROOT / "deploy" / "config.example.toml"
    assert example.read_text(encoding="utf-8") == generate_example.text(), "run: make docs"
    settings = load_settings(example)
    assert settings.bundle.name == "ecg-rhythm"
    assert [source.kind for source in settings.source] == ["mqtt"]


def test_example_configuration_holds_every_setting_with_its_default():
    whole = tomllib.loads(generate_example.uncommented(generate_example.text()))
    for key, field in scalar_settings():
        section, name = key.split(".")
        assert name in whole[section], f"{key} is missing"
        assert field.description, f"{key} gives no reason"
        if key not in generate_example.EXAMPLES and field.default not in (None, PydanticUndefined):
            assert whole[section][name] == json.loads(json.dumps(field.default, default=str)), key
    for section, kinds in KINDS.items():
        assert [table["kind"] for table in whole[section]] == list(kinds)
        for table in whole[section]:
            assert set(table) == set(kinds[table["kind"]].model_fields)

def test_base_install_is_light_and_every_extra_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = " ".join(project["dependencies"])
    for heavy in ("tensorflow", "keras", "wfdb", "edfio", "pandas", "matplotlib", "scikit", "amqtt"):
        assert heavy not in base
    extras = project["optional-dependencies"]
    assert {"trainer", "formats", "demo", "dashboard", "cluster", "dev"} <= set(extras)
    assert "tensorflow" not in " ".join(extras["demo"])


def test_readme_states_intended_use_and_source_of_the_data():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.split("\n\n")[1].startswith("![")
    assert "not a diagnosis" in readme
    assert "PhysioNet" in readme


def test_nothing_of_this_machine_is_written_down():
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = listing.stdout.split()
    pattern = re.compile(r"/(?:work|root|farm)/|/home/[a-z]")
    assert files
    for name in files:
        path = ROOT / name
        if path.suffix in TEXT and path.is_file() and path != Path(__file__).resolve():
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not pattern.search(text), f"{name} names a folder of one machine"
