"""Check that names and prose use the words of docs/glossary.md: `python .ci/check_words.py` prints what does not.

Names are read from Python and JavaScript files and split into their words, so that `_MOST_TOLD` is found as well as
`told`. Prose is read from Markdown and HTML files and from the comments and strings of code.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CODE = {".py", ".js"}
PROSE = {".md", ".html"}
# The list of changes names the old words, the recording was made before them, titles of cited works are not ours to
# spell, and weights and pinned versions are no prose.
SKIPPED = (
    ".ci/check_words.py",
    "CHANGELOG.md",
    "docs/glossary.md",
    "docs/openapi.json",
    "index/starter/citations.toml",
    "tests/golden/renames.py",
)

# Words that no name may hold, and what stands in their place.
NAMES = {
    "told": "message, warning, detail or reported",
    "asked": "payload, requested or the thing itself",
    "said": "message or stated",
    "unheard": "ignored",
    "unrest": "displacements",
    "desk": "handler",
    "unforeseen": "unexpected",
    "hit": "candidate",
    "hits": "candidates",
    "ground": "background or pattern_lattice",
    "laid": "oriented or placed",
    "lying": "orientation",
    "living": "live",
    "wanted": "requested",
    "trials": "rough_fits",
    "fewest": "MIN_",
    "longest": "MAX_",
    "catalogue": "catalog",
    "licence": "license",
}
# Words of names that are fine inside these longer ones.
BEAM = re.compile(
    r"direct_?beams?|incident_?beams?|beam_?(center|stop|s?hadow|energy|direction)s?", re.IGNORECASE
)
BRITISH = re.compile(
    r"\b\w*(centre|centring|colour|grey|neighbour|behaviour|favour|honour|labell(ed|ing)\b|modell(ed|ing)|cancell(ed|ing)"
    r"|catalogue|licence|defence|metre\b|fibre|artefact|analys(e|ed|ing)\b|programme\b"
    r"|(normal|initial|serial|optim|minim|maxim|organ|recogn|summar|character|polar|parametr|random|equal|visual"
    r"|local|general|util|crystall|standard|regular|ion|digit|discret|rasteri|penal|prior|symmetr|real|final"
    r"|synchron|capital|author|categor|special|emphas|apolog|custom|memor|token|vector|factor|diagonal|orthogonal)"
    r"is(e|ed|es|er|ers|ing|ation|ations)\b)\w*",
    re.IGNORECASE,
)
# What the prose may not hold, and what to write.
PHRASES = {
    r"\bheld against\b": "verified against, compared with",
    r"\b(is|are|was|were|be|been) told\b": "is reported, stated, given",
    r"\btold (by|from|apart|of|so)\b": "derived from, distinguished, reported",
    r"\bhardly told\b": "not distinguishable",
    r"\bunheard\b": "ignored",
    r"\bunrest\b": "displacements",
    r"\bunforeseen\b|\bnobody foresaw\b": "unexpected, internal error",
    r"\bas many \w+( \w+)? as may\b|\bmay everything\b": "say what the limit is",
    r"\bstands? in the address\b|\bin the address\b": "in the query string",
    r"\b(does|do) not count\b": "is ignored, is masked",
    r"\bset of candidates that holds?\b": "confidence set",
    r"\bwhat (is|was) (said|asked)\b|\bwhat was told\b": "name the thing",
    r"\bthe more surely\b|\bhow sure\b": "reliability, standard uncertainty",
    r"\bno layer at all\b": "not a layer",
    r"\bnone is right\b": "no match",
    r"\bfaces? down(wards)? on the grid\b": "turned over",
    r"\bsharp(er)? (physics|multislice)\b": "converged",
    r"\bblind(ly)?\b": "without chemistry, no chemistry given",
    r"\bliving library\b": "live index",
    r"\bcrowd(s|ed)?\b": "similar candidates",
}
# Values of the public interface that a shared script reads, a journal's name, and a key that readers accept.
ALLOWED = re.compile(r"centred rectangular|Grey Scale|\"centre\"|\"licence\"")


@dataclass(frozen=True)
class Finding:
    """A word that the glossary retired."""

    path: str
    line: int
    text: str
    advice: str

    def __str__(self) -> str:
        """As compilers print it, so that editors jump to the place."""
        return f"{self.path}:{self.line}: {self.text}: write {self.advice}"


def main() -> int:
    """Print the findings; the exit status is 1 if there are any."""
    findings = [finding for path in _files() for finding in check_file(path)]
    for finding in findings:
        print(finding)
    print(f"{len(findings)} words to change" if findings else "All names and texts use the glossary's words.")
    return bool(findings)


def _files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = (
        path
        for path in listed.stdout.splitlines()
        if Path(path).suffix in CODE | PROSE and (ROOT / path).exists()
    )
    return [path for path in paths if path not in SKIPPED]


def check_file(path: str) -> Iterator[Finding]:
    """Check one file.

    Args:
        path: relative to the repository.
    """
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".py"):
        names, prose = _python_names(text), _python_prose(text)
    elif path.endswith(".js"):
        names, prose = _javascript_names(text), enumerate(text.splitlines(), start=1)
    else:
        names, prose = iter(()), enumerate(text.splitlines(), start=1)
    yield from _check_path(path)
    seen: set[str] = set()
    for line, name in names:
        for advice in _name_faults(name):
            if name not in seen:
                seen.add(name)
                yield Finding(path, line, name, advice)
    for line, words in prose:
        yield from _prose_faults(path, line, words)


def _check_path(path: str) -> Iterator[Finding]:
    for advice in _name_faults(Path(path).stem):
        yield Finding(path, 1, Path(path).stem, advice)


def _python_names(text: str) -> Iterator[tuple[int, str]]:
    """Every name that a Python file defines: functions, classes, parameters, variables, attributes."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def _python_prose(text: str) -> Iterator[tuple[int, str]]:
    """The comments and strings of a Python file, line by line."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if (
            token.type in {tokenize.COMMENT, tokenize.STRING}
            or tokenize.tok_name[token.type] == "FSTRING_MIDDLE"
        ):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def _javascript_names(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        code = re.sub(r"//.*|\"[^\"]*\"|'[^']*'|`[^`]*`", "", line)
        for name in re.findall(r"\b(?:function|const|let|class)\s+([A-Za-z_$][\w$]*)", code):
            yield number, name


def _name_faults(name: str) -> Iterator[str]:
    words = [
        word.lower() for part in name.split("_") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", part)
    ]
    for word in words:
        if word in NAMES:
            yield NAMES[word]
    if re.match(r"_*(MOST|FEWEST|LONGEST|LEAST)_", name):
        yield "MAX_ or MIN_"
    if {"beam", "beams"} & set(words) and not BEAM.search(name):
        yield "reflection (beam: the incident one)"
    if BRITISH.search(" ".join(words)):
        yield "the American spelling"


def _prose_faults(path: str, line: int, words: str) -> Iterator[Finding]:
    words = ALLOWED.sub("", words)
    for phrase, advice in PHRASES.items():
        for match in re.finditer(phrase, words, re.IGNORECASE):
            yield Finding(path, line, match[0], advice)
    for match in BRITISH.finditer(words):
        yield Finding(path, line, match[0], "the American spelling")


if __name__ == "__main__":
    sys.exit(main())
