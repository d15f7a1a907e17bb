"""The offline job: sources to crystals to vectors to an index in its place."""

import importlib.metadata
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from index.build.cell_errors import NOTHING_SAID, CellErrors
from index.build.preparation import Prepared, prepare
from index.build.report import BuildReport, Stopwatch, reasons, write_rejected
from index.chemistry.elements import ElementBits
from index.encoder import Encoder
from index.sources.recognition import check_source, source_records
from index.sources.record import Record, RejectedEntry
from index.storage.catalog import Entry, write_catalog
from index.storage.layout import (
    CATALOG_NAME,
    ELEMENTS_NAME,
    MANIFEST_NAME,
    REJECTED_NAME,
    REPORT_NAME,
    VECTORS_NAME,
)
from index.storage.manifest import FileDigest, Manifest, ModelIdentity
from index.storage.publish import publish, staging, version_name
from index.storage.vectors import write_vectors
from model.crystal.duplicates import group_duplicates
from model.errors import DomainError, IndexUnavailableError

BATCH = 512


class BuildProgress(Protocol):
    """Told how many entries are done; `tqdm` is one."""

    def update(self, n: float | None = 1) -> bool | None:
        """`n` more entries have been read."""
        ...


ShowProgress = Callable[[], AbstractContextManager[BuildProgress]]
Stage = Callable[[str], None]


def show_progress() -> AbstractContextManager[BuildProgress]:
    """A bar on standard error with the rate; sources do not say beforehand how many entries they hold."""
    return tqdm(unit=" crystals", smoothing=0.1)


def no_progress() -> AbstractContextManager[BuildProgress]:
    """Nothing shown."""
    return tqdm(disable=True)


@dataclass
class _Collected:
    """What has been made so far; lists go row by row."""

    entries: list[Entry] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)
    rejected: list[RejectedEntry] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    renamed: int = 0


def build_index(
    sources: Sequence[Path],
    out: Path,
    encoder: Encoder,
    *,
    progress: ShowProgress = no_progress,
    workers: int | None = None,
    cell_errors: CellErrors = NOTHING_SAID,
    stage: Stage = lambda _name: None,
) -> BuildReport:
    """Build an index and put it in place of the one in `out`, if there is one (see `index.storage.publish`).

    Args:
        sources: files, folders, or the keyword `starter`, in order; of crystals with the same id the first
            keeps it.
        out: the index folder; new, empty, or an index.
        encoder: embeds the crystals, and will have to embed the patterns.
        progress: shows how far the job is.
        cell_errors: how far the lengths of the cells are off.
        workers: processes for canonical form and symmetry, see `index.build.preparation.prepare`.
        stage: told the name of each stage as it begins.

    Raises:
        OptionError: a source that does not exist.
        IndexUnavailableError: no entry could be used, `out` holds something else, or another build is under way.
    """
    watch = Stopwatch()
    for source in sources:
        check_source(source)
    with staging(out) as folder:
        stage("embed")
        collected = _collect(_records(sources), encoder, watch, progress, workers)
        if not collected.entries:
            raise IndexUnavailableError(_nothing_usable(collected.rejected))
        stage("group")
        with watch.stage("group"):
            groups = group_duplicates([entry.crystal for entry in collected.entries])
        stage("write")
        with watch.stage("write"):
            manifest = _write(folder, collected, groups, encoder, cell_errors)
            report = _report(folder, manifest, collected, watch)
        stage("publish")
        with watch.stage("publish"):
            target = publish(folder, version_name(manifest.created, manifest.digest))
    stage("done")
    return replace(report, directory=target, seconds=watch.seconds)


def _records(sources: Sequence[Path]) -> Iterator[Record | RejectedEntry]:
    for source in sources:
        yield from source_records(source)


def _collect(
    records: Iterator[Record | RejectedEntry],
    encoder: Encoder,
    watch: Stopwatch,
    progress: ShowProgress,
    workers: int | None,
) -> _Collected:
    collected = _Collected()
    waiting: list[Entry] = []
    chunks = prepare(records, workers)
    with progress() as bar:
        while True:
            with watch.stage("prepare"):
                chunk = next(chunks, None)
            if chunk is not None:
                waiting += _admitted(chunk, collected)
            with watch.stage("embed"):
                while len(waiting) >= BATCH or (chunk is None and waiting):
                    _embed(waiting[:BATCH], collected, encoder)
                    del waiting[:BATCH]
            if chunk is None:
                return collected
            bar.update(len(chunk))


def _admitted(chunk: list[Prepared], collected: _Collected) -> Iterator[Entry]:
    """Entries under ids that are unique in the index."""
    for each in chunk:
        if isinstance(each, RejectedEntry):
            collected.rejected.append(each)
            continue
        id = _unique_id(each, collected.ids)
        collected.ids.add(id)
        collected.renamed += id != each.id
        # A new Crystal in any case: arrays that came from another process are no longer read-only.
        yield replace(each, id=id, crystal=replace(each.crystal, id=id))


def _unique_id(entry: Entry, taken: set[str]) -> str:
    if entry.id not in taken:
        return entry.id
    name = f"{entry.source}:{entry.id}"
    if name not in taken:
        return name
    return next(f"{name}~{n}" for n in range(2, len(taken) + 3) if f"{name}~{n}" not in taken)


def _embed(batch: list[Entry], collected: _Collected, encoder: Encoder) -> None:
    """One crystal that the encoder refuses costs its batch the speed, not its place."""
    try:
        vectors = encoder.embed_crystals([entry.crystal for entry in batch])
    except DomainError as error:
        if len(batch) == 1:
            collected.rejected.append(RejectedEntry(batch[0].id, str(error)))
            return
        for entry in batch:
            _embed([entry], collected, encoder)
        return
    if vectors.shape != (len(batch), encoder.dimension):
        raise IndexUnavailableError(
            f"the model gave vectors of shape {vectors.shape} for {len(batch)} crystals"
        )
    usable = np.asarray(np.isfinite(vectors).all(axis=1))
    for entry, is_usable in zip(batch, usable.tolist(), strict=True):
        if is_usable:
            collected.entries.append(entry)
        else:
            collected.rejected.append(RejectedEntry(entry.id, "the model's vector for it is not finite"))
    collected.vectors.append(np.asarray(vectors[usable], dtype=np.float32))


def _write(
    folder: Path, collected: _Collected, groups: Sequence[int], encoder: Encoder, cell_errors: CellErrors
) -> Manifest:
    entries = collected.entries
    sources = dict(Counter(entry.source for entry in entries).most_common())
    write_vectors(folder / VECTORS_NAME, np.concatenate(collected.vectors))
    write_catalog(folder / CATALOG_NAME, entries, groups)
    ElementBits.of(entry.crystal.numbers for entry in entries).write(folder / ELEMENTS_NAME)
    write_rejected(folder / REJECTED_NAME, collected.rejected)
    names = (VECTORS_NAME, CATALOG_NAME, ELEMENTS_NAME, REJECTED_NAME)
    manifest = Manifest(
        created=datetime.now(UTC).isoformat(),
        software=importlib.metadata.version("dd2d-server"),
        model=ModelIdentity.of(encoder),
        files={name: FileDigest.of(folder / name) for name in names},
        crystals=len(entries),
        groups=len(set(groups)),
        rejected=len(collected.rejected),
        sources=sources,
        cell_sigma=cell_errors.of(sources),
    )
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def _report(folder: Path, manifest: Manifest, collected: _Collected, watch: Stopwatch) -> BuildReport:
    report = BuildReport(
        directory=folder,
        digest=manifest.digest,
        crystals=manifest.crystals,
        groups=manifest.groups,
        rejected=manifest.rejected,
        reasons=reasons(collected.rejected),
        renamed=collected.renamed,
        sources=dict(manifest.sources),
        seconds=watch.seconds,
    )
    content: dict[str, Any] = report.to_dict()
    del content["directory"]  # about to be renamed
    (folder / REPORT_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return report


def _nothing_usable(rejected: list[RejectedEntry]) -> str:
    if not rejected:
        return "the sources hold no structures"
    shown = "; ".join(f"{each.name}: {each.reason}" for each in rejected[:3])
    return f"none of {len(rejected)} entries can be used; the first: {shown}"
