"""What the papers name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAPERS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "node_modules" for part in path.relative_to(ROOT).parts)
)
TOP_LEVEL = "controller|crds|manifests|tests|\\.ci"
PATH = re.compile(rf"(?<![\w/.$~-])((?:{TOP_LEVEL})/[\w./-]*|Makefile|pyproject\.toml|CHANGELOG\.md|LICENSE)")
LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")
SLOW = "pytest.mark." + "slow"
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")


def paper_ids() -> list[str]:
    return [str(path.relative_to(ROOT)) for path in PAPERS]


def code_in(text: str) -> str:
    """Return the text within backticks and fenced blocks, where commands and paths stand."""
    fenced = re.findall(r"^```.*?^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*fenced, *re.findall(r"`([^`\n]+)`", rest)])


@pytest.mark.parametrize("paper", PAPERS, ids=paper_ids())
def test_paths_named_in_code_exist(paper: Path) -> None:
    """A path below a top-level folder is read from the checkout's root, or from the paper's own folder."""
    named = {match.rstrip(".") for match in PATH.findall(code_in(paper.read_text()))}
    missing = [name for name in named if not (ROOT / name).exists() and not (paper.parent / name).exists()]
    assert not missing


@pytest.mark.parametrize("paper", PAPERS, ids=paper_ids())
def test_links_lead_somewhere(paper: Path) -> None:
    missing = [link for link in LINK.findall(paper.read_text()) if not (paper.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("paper", PAPERS, ids=paper_ids())
def test_make_targets_named_in_code_exist(paper: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(TARGET.findall(code_in(paper.read_text()))) <= targets


def test_the_readme_names_both_commands() -> None:
    named = TARGET.findall(code_in((ROOT / "README.md").read_text()))
    assert {"demo", "test"} <= set(named)


def test_the_slow_suites_are_named() -> None:
    """Whoever leaves something out of the normal run says so where a reader looks for it."""
    paper = (ROOT / "tests" / "README.md").read_text()
    files = {path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py") if SLOW in path.read_text()}
    assert not [str(path) for path in files if f"`{path}`" not in paper]


def test_every_make_target_is_explained() -> None:
    """`make help` lists each target that a person may call."""
    makefile = (ROOT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split()
    assert set(phony) == set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))


def test_the_licence_is_apache_2() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()


def test_the_changelog_has_a_place_for_the_next_line() -> None:
    assert re.search(r"^## Unreleased$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_locked_versions_cover_every_dependency() -> None:
    """Each requirement of pyproject.toml has an exact version in the constraints."""
    block = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    development = re.search(r"^dev = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert block
    assert development
    wanted = re.findall(r'^ +"([\w.-]+)', block[1] + development[1], re.MULTILINE)
    locked = re.findall(r"^([\w.-]+)==", (ROOT / ".ci" / "constraints.txt").read_text(), re.MULTILINE)
    assert {normal(name) for name in wanted} <= {normal(name) for name in locked}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_papers_name_no_path_of_a_machine() -> None:
    """A reader's machine has another home directory than ours."""
    assert not [str(paper) for paper in PAPERS if re.search(r"(?<!\w)/(root|home/\w+|work|Users)/", paper.read_text())]


def test_the_version_of_kubernetes_that_is_named_is_the_one_that_is_tested() -> None:
    tested = re.findall(r"k8s\.io/kubernetes (v\S+)", (ROOT / "tests" / "apiserver" / "go.mod").read_text())
    named = re.findall(r"kube-apiserver (v[\d.]+\d)", (ROOT / "manifests" / "README.md").read_text())
    assert set(named) == set(tested)
