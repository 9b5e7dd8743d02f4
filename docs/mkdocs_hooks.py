"""What mkdocs does besides: pages that live elsewhere in the repository, links out of docs/, notebooks as pages."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
# Pages of the site that are files elsewhere, by their path in the repository.
ELSEWHERE = {
    "firmware_bridge/PROTOCOL.md": "protocol.md",
    "firmware_bridge/c/README.md": "c-library.md",
    "trainer/zoo/README.md": "zoo.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
# What README.md of the repository and of docs/ say, the start page and the navigation say.
ALSO = {"README.md": "index.md", "docs/README.md": "index.md", "docs/adr": "adr/0001-layout-and-import-direction.md"}
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s#]+)((?:#[^)\s]*)?)\)")
TAGS = re.compile(r"^(```\w+) [\w :/.-]+$", re.MULTILINE)  # what a block's tags mean is for tests, not for readers
FENCE = re.compile(r"^ {0,3}(```|~~~)")


def on_config(config: Any) -> Any:
    """The navigation with what is there: listed pages in their order, others under More, decisions by number."""
    known = _pages()
    listed = set(_listed(config.nav))
    decisions = sorted(page for page in known if page.startswith("adr/"))
    rest = sorted(known - listed - set(decisions))
    config.nav = [_kept(entry, known, decisions) for entry in config.nav]
    if rest:
        config.nav.append({"More": [{_title(page): page} for page in rest]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages of elsewhere, the notebooks, and copies of the source files that pages link to."""
    for source, uri in ELSEWHERE.items():
        files.append(File.generated(config, uri, content=(ROOT / source).read_text(encoding="utf-8")))
    for notebook in sorted((DOCS / "notebooks").glob("*.ipynb")):
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=notebook_page(notebook)))
    if (DOCS / "asyncapi.yaml").exists():
        from docs.generate_asyncapi import page

        files.append(File.generated(config, "asyncapi.md", content=page()))
    there = {file.src_uri for file in files}
    for file in list(files.documentation_pages(inclusion=InclusionLevel.is_in_nav)) + list(files):
        if not file.src_uri.endswith(".md"):
            continue
        for target in _targets(file.content_string, _origin(file.src_uri)):
            uri = f"source/{target}"
            if uri not in there and (ROOT / target).is_file() and _site_page(target) is None:
                there.add(uri)
                files.append(File(uri, None, config.site_dir, False, dest_uri=uri + _text(target)))
                files.get_file_from_path(uri).abs_src_path = str(ROOT / target)  # type: ignore[union-attr]
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links that leave docs/ become links inside the site; those to folders become plain text."""
    origin = _origin(page.file.src_uri)
    here = PurePosixPath(page.file.src_uri).parent

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        if _is_outside(target):
            return match[0]
        path = _resolved(target, origin)
        uri = _site_page(path)
        if uri is None and (ROOT / path).is_file():
            uri = f"source/{path}"
        if uri is None and (ROOT / path).is_dir():
            return f"`{path}/`" if text.startswith("[`") else f"{text[1:-1]} (`{path}/`)"
        if uri is None:
            return match[0]  # mkdocs says that it is not there
        return f"{text}({os.path.relpath(uri, here)}{anchor})"

    return "".join(TAGS.sub(r"\1", part) if code else LINK.sub(link, part) for code, part in _parts(markdown))


def notebook_page(path: Path) -> str:
    """An executed notebook as Markdown: text, code and the outputs that are stored in it."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [_output(output) for output in cell.get("outputs", [])]
    parts.append(f'<a href="{path.name}" download>The notebook itself</a>; a test executes it.')
    return "\n\n".join(part for part in parts if part) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "text/html" in data:
        html = "".join(data["text/html"]).replace("\n", " ")
        return f'<div class="notebook-output">{html}</div>'
    if "image/png" in data:
        alt = escape("".join(data.get("text/plain", ["figure"])))
        return f'<img alt="{alt}" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def _pages() -> set[str]:
    own = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    own = {page for page in own if page != "README.md" and page.split("/")[0] not in ("results", "gallery")}
    made = {f"notebooks/{path.stem}.md" for path in (DOCS / "notebooks").glob("*.ipynb")}
    return own | made | set(ELSEWHERE.values()) | ({"asyncapi.md"} if (DOCS / "asyncapi.yaml").exists() else set())


def _listed(nav: Any) -> Iterator[str]:
    for entry in nav if isinstance(nav, list) else [nav]:
        if isinstance(entry, dict):
            for value in entry.values():
                yield from _listed(value)
        elif isinstance(entry, str):
            yield entry


def _kept(entry: Any, known: set[str], decisions: list[str]) -> Any:
    if not isinstance(entry, dict):
        return entry
    ((name, value),) = entry.items()
    if isinstance(value, str):
        return entry
    if name == "Decisions":
        return {name: [{_title(page): page} for page in decisions]}
    pages = [_kept(item, known, decisions) for item in value]
    return {name: [p for p in pages if not isinstance(next(iter(p.values())), str) or next(iter(p.values())) in known]}


def _title(page: str) -> str:
    source = next((ROOT / path for path, uri in ELSEWHERE.items() if uri == page), DOCS / page)
    first = source.read_text(encoding="utf-8").lstrip().splitlines()[0]
    return first.lstrip("# ").strip()


def _origin(uri: str) -> PurePosixPath:
    """Folder in the repository that a page's relative links start from."""
    source = next((path for path, page in ELSEWHERE.items() if page == uri), f"docs/{uri}")
    return PurePosixPath(source).parent


def _resolved(target: str, origin: PurePosixPath) -> str:
    return os.path.normpath(origin / target)


def _site_page(path: str) -> str | None:
    """The site's page or file for a path in the repository, where it has one."""
    if path in ELSEWHERE or path in ALSO:
        return ELSEWHERE.get(path) or ALSO[path]
    inside = path.removeprefix("docs/")
    if inside.endswith(".ipynb"):
        inside = f"{inside.removesuffix('.ipynb')}.md"
    return inside if path.startswith("docs/") and not path.startswith("docs/results/") and (
        inside in _pages() or (ROOT / "docs" / inside).is_file()
    ) else None  # fmt: skip


def _is_outside(target: str) -> bool:
    return bool(re.match(r"[a-z]+:", target)) or target.startswith("/")


def _targets(markdown: str, origin: PurePosixPath) -> Iterator[str]:
    for code, part in _parts(markdown):
        if not code:
            for match in LINK.finditer(part):
                if not _is_outside(match[2]):
                    yield _resolved(match[2], origin)


def _text(path: str) -> str:
    """Source files get an ending that every browser shows instead of saving."""
    return "" if path.endswith((".txt", ".json", ".svg", ".png", ".html", ".zip")) else ".txt"


def _parts(markdown: str) -> Iterator[tuple[bool, str]]:
    """(whether it is code, text) of a page, whole lines."""
    lines: list[str] = []
    code = False
    for line in markdown.splitlines(keepends=True):
        if FENCE.match(line):
            if not code:
                yield False, "".join(lines)
                lines = [line]
            else:
                yield True, "".join([*lines, line])
                lines = []
            code = not code
        else:
            lines.append(line)
    yield code, "".join(lines)
