"""Every command, file, target and link that the documentation names is there."""

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from app.cli.main import build_parser
from app.presentation.schemas.compare import ComparisonSchema
from app.presentation.schemas.predict import Answer
from model.matching.confidence import MIN_MATCH_PROBABILITY
from model.pattern.options import PatternOptions
from model.pattern.read import read_pattern
from tests.paths import ROOT

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/**/*.md", "model/**/*.md", "index/**/*.md", "bench/**/*.md")
    for path in ROOT.glob(pattern)
)
FENCE = re.compile(r"^```(?:sh|console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(^|\s)#.*$", re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
BENCHMARK = re.compile(r"python -m bench\.(\w+)")
PATH = re.compile(r"[\w.-]+(/[\w.-]+)+/?")
TARGET = re.compile(r"^([a-z][\w-]*):(?!=)", re.MULTILINE)
KEPT = ("docs/", "tests/", "bench/", "model/", "index/", "app/")
# Written when a command runs, and so not in a fresh clone.
MADE = (".venv", "indexes", "runs", "dist")

everywhere = pytest.mark.parametrize("document", DOCUMENTS)


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def commands_of(document: str) -> Iterator[list[str]]:
    """The commands of the shell blocks, each split into words, its program without its folder."""
    for block in FENCE.findall(text_of(document)):
        for words in commands_in(block):
            yield [Path(words[0]).name, *words[1:]]


def mentions_of(document: str) -> Iterator[list[str]]:
    """The commands named in running text, which may leave out what they need: `dd2d train`."""
    for code in CODE.findall(FENCE.sub("", text_of(document))):
        words = code.split()
        if Path(words[0]).name in {"make", "dd2d"}:
            yield [Path(words[0]).name, *words[1:]]


def commands_in(block: str) -> Iterator[list[str]]:
    text = COMMENT.sub("", block.replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars="\n;&|")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for word in [*lexer, "\n"]:
        if set(word) <= set("\n;&|"):
            if words:
                yield words
            words = []
        else:
            words.append(word)


def calls(commands: Iterator[list[str]], program: str) -> list[list[str]]:
    return [words[1:] for words in commands if words[0] == program]


def make_calls(document: str) -> list[list[str]]:
    return calls(commands_of(document), "make") + calls(mentions_of(document), "make")


def test_the_checks_below_see_the_readme() -> None:
    assert ["run"] in make_calls("README.md")
    assert len(calls(commands_of("README.md"), "dd2d")) >= 3
    assert len(calls(commands_of("README.md"), "curl")) >= 2


@everywhere
def test_links_lead_somewhere(document: str) -> None:
    links = [link.split("#")[0] for link in LINK.findall(text_of(document)) if "://" not in link]
    folder = (ROOT / document).parent
    assert [link for link in links if link and not (folder / link).exists()] == []


@everywhere
def test_benchmarks_are_there(document: str) -> None:
    for name in BENCHMARK.findall(text_of(document)):
        assert (ROOT / "bench" / f"{name}.py").is_file(), name


@everywhere
def test_make_targets_are_there(document: str) -> None:
    there = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    assert "run" in there
    named = {word for call in make_calls(document) for word in call if "=" not in word}
    assert named - there == set()


@everywhere
def test_make_settings_are_there(document: str) -> None:
    there = set(re.findall(r"^([A-Z_]+) \?=", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {word.split("=")[0] for call in make_calls(document) for word in call if "=" in word}
    assert named - there == set()


@everywhere
def test_dd2d_commands_are_understood(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused = [call for call in calls(commands_of(document), "dd2d") if not understood(call)]
    assert refused == [], capsys.readouterr().err


@everywhere
def test_dd2d_commands_named_in_the_text_are_there(document: str, capsys: pytest.CaptureFixture[str]) -> None:
    named = [list(takewhile(str.islower, call)) for call in calls(mentions_of(document), "dd2d")]
    assert [call for call in named if not understood([*call, "--help"])] == [], capsys.readouterr().err


def test_a_wrong_command_would_be_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    assert not understood(["nonsense", "--help"])
    assert not understood(["index", "nonsense", "--help"])
    assert not understood(["serve", "--nonsense", "1"])
    assert "nonsense" in capsys.readouterr().err


def understood(call: list[str]) -> bool:
    """Whether the command line's own parser takes these words; `--help` makes it exit with 0."""
    try:
        build_parser().parse_args(call)
    except SystemExit as end:
        return end.code == 0
    return True


@everywhere
def test_files_named_in_the_text_are_there(document: str) -> None:
    tops = {path.name for path in ROOT.iterdir()}
    codes = {code for code in CODE.findall(FENCE.sub("", text_of(document))) if PATH.fullmatch(code)}
    named = {code for code in codes if code.split("/")[0] in tops and not code.startswith(MADE)}
    assert {code for code in named if not (ROOT / code).exists()} == set()


@everywhere
def test_files_that_commands_read_are_there(document: str) -> None:
    words = {word for command in commands_of(document) for word in command if word.startswith(KEPT)}
    assert {word for word in words if not (ROOT / word).exists()} == set()


def test_the_points_that_the_readme_posts_are_read() -> None:
    bodies = [call[call.index("-d") + 1] for call in calls(commands_of("README.md"), "curl") if "-d" in call]
    spots = [read_pattern(body.encode(), "points.json", PatternOptions()) for body in bodies]
    assert [len(found) for found in spots] == [12]


def test_the_files_that_the_readme_posts_were_made_before() -> None:
    made: set[str] = set()
    for program, *words in commands_of("README.md"):
        if program == "dd2d" and "--out" in words:
            made.add(words[words.index("--out") + 1])
        assert {word.removeprefix("file=@") for word in words if word.startswith("file=@")} <= made
    assert {"mos2.png"} <= made


@pytest.mark.parametrize("document", ["docs/glossary.md", "docs/http-api.md"])
def test_documents_state_the_threshold_of_a_match(document: str) -> None:
    assert f"a probability of at least {MIN_MATCH_PROBABILITY:g}" in text_of(document).replace("\n", " ")


def test_the_page_and_the_schemas_state_the_threshold_of_a_match() -> None:
    assert f"at least {100 * MIN_MATCH_PROBABILITY:g}\\u00a0%" in text_of("app/web/page/verdict.js")
    for schema in (Answer, ComparisonSchema):
        description = schema.model_fields["verdict"].description or ""
        assert f"a probability of at least {MIN_MATCH_PROBABILITY:g}" in description
