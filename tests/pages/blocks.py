"""Code blocks of pages and what their tag says must happen to them.

    ```sh test          every line runs, in a folder with the page's files, and ends with 0
    ```sh test slow     the same, in the slow tests
    ```sh runs          what does not end: started, still there after a while, ended by Ctrl-C with 0
    ```sh hardware      needs a board, a port or rights of root; not run
    ```sh by:PATH       another test runs it; PATH is that test
    ```sh archive       needs the public archives, or hours; not run
    ```sh ci            what .ci/run or another test does anyway: make, pip; not run
    ```python test      runs, with `window` at hand

Words in capitals stand for files: RECORDING, DATA, RECIPE.toml, RUN.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TAGS = ("test", "slow", "runs", "hardware", "archive", "ci")
# Every code block in these must be tagged. Others are references, whose commands test_documented checks.
GUIDES = (
    "README.md", "docs/index.md", "docs/getting-started.md", "docs/breadboard.md", "docs/own-data.md", "docs/wrap.md",
    "docs/python.md", "docs/gateway.md", "docs/faq.md", "docs/defence.md", "docs/results.md", "docs/comparison.md",
    "docs/dashboard.md", "docs/operators.md", "docs/decisions.md", "docs/updates.md", "docs/overload.md",
    "docs/mqtt.md", "docs/scale.md", "docs/guarantees.md", "docs/threat-model.md", "docs/experiments.md",
    "CONTRIBUTING.md",
)  # fmt: skip
PLACEHOLDERS = {
    "RECORDING": "recording.npz",
    "DATA": "own.npz",
    "RECIPE.toml": "small.toml",
    "RUN": "run",
    "deploy/config.example.toml": str(ROOT / "deploy" / "config.example.toml"),
}
_BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: its page, first line's number, language, tags and text."""

    page: str
    line: int
    language: str
    tags: tuple[str, ...]
    text: str

    @property
    def filled(self) -> str:
        """With the placeholders replaced."""
        text = self.text
        for word, value in PLACEHOLDERS.items():
            text = re.sub(rf"(?<![\w/.]){re.escape(word)}(?![\w.])", value, text)
        return text

    @property
    def lines(self) -> list[str]:
        """Command lines without remarks."""
        joined = self.filled.replace("\\\n", " ")
        lines = [re.sub(r"\s+#.*$", "", line).strip() for line in joined.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]


def blocks(page: str) -> list[Block]:
    """All blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        language, *tags = match[1].split() or [""]
        found.append(Block(page, text.count("\n", 0, match.start()) + 1, language, tuple(tags), match[2]))
    return found


def files_of(page: str) -> dict[str, str]:
    """Files that a page shows: toml blocks whose first line is a remark with a name."""
    found = {}
    for block in blocks(page):
        name = re.match(r"# ([\w-]+\.toml)\n", block.text)
        if block.language == "toml" and name:
            found[name[1]] = block.text
    return found
