"""The memory of a container, read from its control group."""

from pathlib import Path

import pytest

from app.observability.container_memory import ContainerMemoryCollector

STAT = "anon 500\nfile 300\ninactive_file 200\n"


def read(folder: Path) -> dict[str, list[float]]:
    return {
        family.name: [sample.value for sample in family.samples]
        for family in ContainerMemoryCollector(folder).collect()
    }


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        (folder / f"memory.{name}").write_text(content)


def test_used_memory_excludes_the_cache_that_can_be_dropped(tmp_path: Path) -> None:
    write(tmp_path, max="4096\n", current="1000\n", stat=STAT)
    assert read(tmp_path) == {"dd2d_memory_limit_bytes": [4096], "dd2d_memory_used_bytes": [800]}


@pytest.mark.parametrize(
    "files", [{}, {"max": "max\n"}, {"max": "4096\n"}, {"max": "4096\n", "current": "1000\n"}]
)
def test_without_a_limit_or_a_control_group_there_is_no_sample(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, **files)
    assert read(tmp_path) == {"dd2d_memory_limit_bytes": [], "dd2d_memory_used_bytes": []}
