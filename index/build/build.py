"""The offline job: read sources, make crystals, embed them, write an index and publish it."""

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

from index.build.cell_errors import DEFAULT_CELL_ERRORS, CellErrors
from index.build.preparation import Prepared, prepare_entries
from index.build.report import BuildReport, count_reasons, write_rejected
from index.chemistry.elements import ElementBits
from index.encoder import Encoder
from index.sources.recognition import check_source, read_records
from index.sources.record import Record, RejectedEntry
from index.storage.canary import find_canary_candidates
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
from index.storage.publish import publish_version, stage_version
from index.storage.vectors import find_unit_rows, write_vectors
from index.storage.versions import make_version_name
from model.crystal.duplicates import group_duplicates
from model.errors import DomainError, IndexUnavailableError
from model.stopwatch import Stopwatch

BATCH = 512


class BuildProgress(Protocol):
    """Counts the entries that have been read, such as `tqdm`."""

    def update(self, n: float | None = 1) -> bool | None:
        """Count `n` more entries."""
        ...


ShowProgress = Callable[[], AbstractContextManager[BuildProgress]]
OnStage = Callable[[str], None]


def show_progress() -> AbstractContextManager[BuildProgress]:
    """Show the count and the rate on standard error; sources do not state their number of entries."""
    return tqdm(unit=" crystals", smoothing=0.1)


def hide_progress() -> AbstractContextManager[BuildProgress]:
    """Show nothing."""
    return tqdm(disable=True)


@dataclass
class _CollectedEntries:
    """Entries and vectors, row by row, and the entries that were rejected."""

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
    progress: ShowProgress = hide_progress,
    workers: int | None = None,
    cell_errors: CellErrors = DEFAULT_CELL_ERRORS,
    on_stage: OnStage = lambda _stage: None,
) -> BuildReport:
    """Build an index and publish it in a folder, as the current version.

    Args:
        sources: files, folders, or the keyword `starter`, in order; of crystals with the same id the first
            keeps it.
        out: the index folder; new, empty, or an index.
        encoder: embeds the crystals; searching needs the same weights.
        progress: shows how many entries have been read.
        workers: processes for canonical form and symmetry, see `prepare_entries`.
        cell_errors: standard uncertainties of the cell lengths.
        on_stage: called with the name of each stage as it begins.

    Raises:
        OptionError: a source does not exist.
        IndexUnavailableError: no entry could be used, `out` contains other files, or another build writes to it.
    """
    watch = Stopwatch()
    for source in sources:
        check_source(source)
    with stage_version(out) as folder:
        on_stage("embed")
        collected = _collect(_read_sources(sources), encoder, watch, progress, workers)
        if not collected.entries:
            raise IndexUnavailableError(_describe_rejected(collected.rejected))
        on_stage("group")
        groups = group_duplicates([entry.crystal for entry in collected.entries])
        watch.lap("group")
        on_stage("write")
        manifest = _write(folder, collected, groups, encoder, cell_errors)
        report = _write_report(folder, manifest, collected, watch)
        watch.lap("write")
        on_stage("publish")
        target = publish_version(folder, make_version_name(manifest))
        watch.lap("publish")
    on_stage("done")
    return replace(report, directory=target, seconds=_list_seconds(watch))


def _read_sources(sources: Sequence[Path]) -> Iterator[Record | RejectedEntry]:
    for source in sources:
        yield from read_records(source)


def _collect(
    records: Iterator[Record | RejectedEntry],
    encoder: Encoder,
    watch: Stopwatch,
    progress: ShowProgress,
    workers: int | None,
) -> _CollectedEntries:
    """Prepare and embed all records, a chunk at a time."""
    collected = _CollectedEntries()
    waiting: list[Entry] = []
    chunks = prepare_entries(records, workers)
    with progress() as bar:
        while True:
            chunk = next(chunks, None)
            if chunk is not None:
                waiting += _admit(chunk, collected)
            watch.lap("prepare")
            while len(waiting) >= BATCH or (chunk is None and waiting):
                _embed(waiting[:BATCH], collected, encoder)
                del waiting[:BATCH]
            watch.lap("embed")
            if chunk is None:
                return collected
            bar.update(len(chunk))


def _admit(chunk: list[Prepared], collected: _CollectedEntries) -> Iterator[Entry]:
    """Yield the usable entries of a chunk under ids that are unique in the index."""
    for prepared in chunk:
        if isinstance(prepared, RejectedEntry):
            collected.rejected.append(prepared)
            continue
        id = _make_unique_id(prepared, collected.ids)
        collected.ids.add(id)
        collected.renamed += id != prepared.id
        # A new Crystal in any case: arrays from another process are no longer read-only.
        yield replace(prepared, id=id, crystal=replace(prepared.crystal, id=id))


def _make_unique_id(entry: Entry, used: set[str]) -> str:
    if entry.id not in used:
        return entry.id
    name = f"{entry.source}:{entry.id}"
    if name not in used:
        return name
    return next(f"{name}~{n}" for n in range(2, len(used) + 3) if f"{name}~{n}" not in used)


def _embed(batch: list[Entry], collected: _CollectedEntries, encoder: Encoder) -> None:
    """Embed a batch, or its entries one by one where the encoder refuses one of them."""
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
            f"The model returned vectors of shape {vectors.shape} for {len(batch)} crystals; "
            f"({len(batch)}, {encoder.dimension}) was expected."
        )
    usable = find_unit_rows(vectors)
    for entry, is_usable in zip(batch, usable.tolist(), strict=True):
        if is_usable:
            collected.entries.append(entry)
        else:
            collected.rejected.append(
                RejectedEntry(entry.id, "The model's vector for this structure is not a unit vector.")
            )
    collected.vectors.append(np.asarray(vectors[usable], dtype=np.float32))


def _write(
    folder: Path,
    collected: _CollectedEntries,
    groups: Sequence[int],
    encoder: Encoder,
    cell_errors: CellErrors,
) -> Manifest:
    """Write the files of an index and their manifest."""
    entries = collected.entries
    sources = dict(Counter(entry.source for entry in entries).most_common())
    vectors = np.concatenate(collected.vectors)
    write_vectors(folder / VECTORS_NAME, vectors)
    write_catalog(folder / CATALOG_NAME, entries, groups)
    ElementBits.from_numbers(entry.crystal.numbers for entry in entries).write(folder / ELEMENTS_NAME)
    write_rejected(folder / REJECTED_NAME, collected.rejected)
    names = (VECTORS_NAME, CATALOG_NAME, ELEMENTS_NAME, REJECTED_NAME)
    manifest = Manifest(
        created=datetime.now(UTC).isoformat(),
        software=importlib.metadata.version("dd2d-server"),
        model=ModelIdentity.from_encoder(encoder),
        files={name: FileDigest.from_file(folder / name) for name in names},
        crystals=len(entries),
        groups=len(set(groups)),
        rejected=len(collected.rejected),
        sources=sources,
        cell_sigma=cell_errors.select(sources),
        canary=find_canary_candidates(entries, vectors, encoder),
    )
    (folder / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def _write_report(
    folder: Path, manifest: Manifest, collected: _CollectedEntries, watch: Stopwatch
) -> BuildReport:
    report = BuildReport(
        directory=folder,
        digest=manifest.digest,
        crystals=manifest.crystals,
        groups=manifest.groups,
        rejected=manifest.rejected,
        reasons=count_reasons(collected.rejected),
        renamed=collected.renamed,
        sources=dict(manifest.sources),
        seconds=_list_seconds(watch),
    )
    content: dict[str, Any] = report.to_dict()
    del content["directory"]  # about to be renamed
    (folder / REPORT_NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return report


def _list_seconds(watch: Stopwatch) -> dict[str, float]:
    return {**watch.seconds, "total": round(watch.total_seconds, 4)}


def _describe_rejected(rejected: list[RejectedEntry]) -> str:
    """Return the message for sources without a single usable entry."""
    if not rejected:
        return "The sources contain no structures; give other files or folders."
    first = " ".join(f"{entry.name}: {entry.reason}" for entry in rejected[:3])
    return f"None of the {len(rejected)} entries can be used. The first errors: {first}"
