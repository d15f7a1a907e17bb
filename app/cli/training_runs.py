"""`dd2d train` and `dd2d evaluate`: arguments and runs; reading databases is the caller's part."""

import argparse
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymatgen.core.composition import Composition

from model.crystal.crystal import Crystal
from model.crystal.duplicates import group_duplicates
from model.errors import OptionError, UnreadableError
from model.towers.checkpoint import load_towers, read_network, save_towers
from model.towers.contrastive import FORMS, SHAPES, Shape, TwinTowers
from model.training.dataset import Dataset
from model.training.evaluation import Bench, evaluate_library, evaluate_paper, table
from model.training.loop import Schedule, Trainer
from model.training.split import Part, split

Reader = Callable[[Iterable[Path]], list[Crystal]]
Stage = dict[str, Any]
"""How one run of training went."""


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `dd2d train`."""
    _add_data_arguments(parser)
    parser.add_argument(
        "--hold-out", type=Path, nargs="*", default=[], help="JSON files whose crystals are test"
    )
    parser.add_argument("--seed", type=int, default=0, help="of split, weights and noise (default: 0)")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the run; an unfinished run there goes on"
    )
    parser.add_argument("--form", choices=FORMS, default="physics", help="which towers (default: physics)")
    parser.add_argument(
        "--start",
        type=Path,
        metavar="DIR",
        help="trained towers to begin with; their form, not --form, counts",
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="training time (default: 60)")
    parser.add_argument("--batch", type=int, default=192, help="crystals a step (default: 192)")
    parser.add_argument(
        "--regime",
        choices=["library", "paper"],
        default="library",
        help="patterns as instruments give them, or as DD2D trained on (default: library)",
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="where computed patterns are kept (default: OUT/cache)"
    )
    parser.add_argument(
        "--views", type=int, default=2, help="patterns of each crystal in a step (default: 2)"
    )
    parser.add_argument(
        "--draws", type=int, default=24, help="conditions a crystal in the pool (default: 24)"
    )
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate (default: 0.002)")


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `dd2d evaluate`; which crystals were held out, the towers themselves say."""
    _add_data_arguments(parser)
    parser.add_argument("--model", type=Path, help="folder of trained towers (default: the shipped ones)")
    parser.add_argument("--protocol", choices=["library", "clean", "paper"], default="library")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (default: 0)")
    parser.add_argument(
        "--tilt", type=float, default=0.0, help="largest tilt of the queries, degrees (default: 0)"
    )
    parser.add_argument("--source", help="only sources whose name begins so, such as 2dmatpedia")
    parser.add_argument("--out", type=Path, help="write the rows as JSON to this file too")


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="SOURCE", help="databases of crystals"
    )


def run_train(args: argparse.Namespace, read: Reader) -> int:
    """Train, then write the best towers to OUT/towers.

    Raises:
        OptionError: the towers to begin with were trained by another split, so this one would leak.
    """
    held_out = held_out_formulas(args.hold_out)
    beginning, stages = _beginning(args, held_out)
    crystals = read(args.data)
    dataset = Dataset.build(
        crystals,
        draws=args.draws,
        seed=args.seed,
        held_out=held_out,
        cache=args.cache or args.out / "cache",
        regime=args.regime,
    )
    schedule = Schedule(
        minutes=args.minutes,
        batch=args.batch,
        views=args.views,
        rate=args.rate,
        regime=args.regime,
        seed=args.seed,
    )
    trainer = Trainer(dataset, beginning, schedule, args.out)
    trainer.run()
    best = torch.load(args.out / "best.pt", weights_only=True)
    towers = TwinTowers(trainer.towers.shape)
    towers.load_state_dict(best["weights"])
    save_towers(towers, args.out / "towers", _description(args, held_out, dataset, trainer, stages))
    print(f"best towers in {args.out / 'towers'}")
    return 0


def _beginning(args: argparse.Namespace, held_out: set[str]) -> tuple[Shape | TwinTowers, list[Stage]]:
    """Random weights of the form, or those of `--start`; and the stages of training behind them."""
    if not args.start:
        return SHAPES[args.form], []
    network, _, training = read_network(args.start)
    if split_of(training) != (args.seed, held_out):
        raise OptionError(
            f"the towers in {args.start} were trained by another split, so its test crystals may be known to them; "
            "give the --seed and --hold-out that they were trained with"
        )
    return network, list(training.get("stages", []))


def run_evaluate(args: argparse.Namespace, read: Reader) -> int:
    """Print the rows of a protocol as a table and as JSON."""
    towers = load_towers(args.model)
    crystals = read(args.data)
    parts = split(crystals, *split_of(towers.training))
    bench = Bench(
        crystals, np.asarray(group_duplicates(crystals)), np.array(parts[Part.TEST], dtype=np.int64)
    )
    if args.protocol == "paper":
        rows = evaluate_paper(towers, bench, source=args.source or "2dmatpedia", seed=args.seed)
    else:
        clean = args.protocol == "clean"
        rows = evaluate_library(
            towers, bench, clean=clean, max_tilt_deg=args.tilt, only_source=args.source, seed=args.seed
        )
    report = {"protocol": args.protocol, "tilt_deg": args.tilt, "model": towers.digest, "form": towers.form}
    text = json.dumps(report | {"rows": [row.as_json() for row in rows]})
    print(table(rows))
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    return 0


def split_of(training: Mapping[str, Any]) -> tuple[int, set[str]]:
    """Seed and held-out formulas of the split that the towers were trained by: no other is free of leaks."""
    try:
        return int(training["split_seed"]), set(training["held_out"])
    except (KeyError, TypeError, ValueError) as error:
        raise OptionError(
            "these towers do not say by which split they were trained, so nothing is surely unseen by them"
        ) from error


def held_out_formulas(paths: Iterable[Path]) -> set[str]:
    """Reduced formulas in JSON lists (plain or gzip) of objects with a `species` list.

    Raises:
        UnreadableError: a file is no such list.
    """
    formulas: set[str] = set()
    for path in paths:
        try:
            content = path.read_bytes()
            entries = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
            if not isinstance(entries, list):
                raise TypeError(f"it holds {type(entries).__name__}")
            formulas |= {Composition("".join(entry["species"])).reduced_formula for entry in entries}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnreadableError(
                f"{path} is no JSON list of crystals with a `species` list: {error}"
            ) from error
    return formulas


def _description(
    args: argparse.Namespace, held_out: set[str], dataset: Dataset, trainer: Trainer, before: list[Stage]
) -> dict[str, object]:
    progress = trainer.progress
    stage: Stage = {
        "regime": args.regime,
        "minutes": round(progress.elapsed_s / 60, 1),
        "pairs": progress.pairs,
        "pairs_per_s": progress.pairs_per_s,
        "validation_top1": progress.best_top1,
    }
    stages = [*before, stage]
    sources = sorted({crystal.source for crystal in dataset.crystals})
    return {
        "crystals": len(dataset.crystals),
        "sources": {name: sum(crystal.source == name for crystal in dataset.crystals) for name in sources},
        "split": {part.value: len(rows) for part, rows in dataset.parts.items()},
        "split_seed": args.seed,
        "held_out": sorted(held_out),
        "minutes": round(sum(stage["minutes"] for stage in stages), 1),
        "pairs": sum(stage["pairs"] for stage in stages),
        "stages": stages,
    }
