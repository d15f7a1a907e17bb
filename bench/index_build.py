"""Measure the time to build an index, in total and by step; print JSON.

    python -m bench.index_build SOURCE... [--model DIR] [--untrained] [--workers N]

With `--untrained` the towers have random weights, which take the same time.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from index.build.build import build_index, show_progress
from index.build.inspection import verify_index
from index.encoder import Encoder
from index.search.retriever import Retriever


def main() -> None:
    options = _parse_options()
    encoder = _build_random_encoder() if options.untrained else _load_encoder(options.model)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "index"
        report = build_index(options.sources, out, encoder, progress=show_progress, workers=options.workers)
        begun = time.perf_counter()
        verification = verify_index(out, encoder)
        verified = time.perf_counter()
        Retriever.open(out, encoder).close()
        opened = time.perf_counter()
    outcome = report.to_dict()
    outcome["verified"] = {"problems": verification.problems, "seconds": round(verified - begun, 3)}
    outcome["open_seconds"] = round(opened - verified, 4)
    print(json.dumps(outcome, indent=1))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--model", type=Path, help="folder with trained towers; the shipped ones if left out")
    parser.add_argument("--untrained", action="store_true", help="random weights of the default shape")
    parser.add_argument("--workers", type=int, help="processes for canonical form and symmetry")
    return parser.parse_args()


def _load_encoder(model: Path | None) -> Encoder:
    from model.towers.checkpoint import load_towers

    return load_towers(model)


def _build_random_encoder() -> Encoder:
    from model.towers.contrastive import TowerSize, TwinTowers
    from model.towers.encoder import Towers

    return Towers(TwinTowers(TowerSize()), "sha256:" + "00" * 32)


if __name__ == "__main__":
    main()
