"""The loop learns, logs, and resumes after it was killed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.errors import OptionError
from model.towers.contrastive import Form, TowerSize, TwinTowers
from model.training.dataset import Dataset
from model.training.loop import Trainer
from model.training.optimizer import build_optimizers, orthogonalize
from model.training.schedule import Schedule
from model.training.split import SplitPart

SIZE = TowerSize("physics", width=24, layers=1, heads=3, dimension=16)
SCHEDULE = Schedule(minutes=60, batch=8, rate=2e-3, warm_up=4, neighborhoods_from=0.0, leaf=2)


def metrics(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def steps(trainer: Trainer, count: int) -> list[float]:
    return [trainer._train_step(trainer._next_batch()) for _ in range(count)]


@pytest.mark.parametrize(("form", "to"), [("physics", 0.75), ("sequence", 0.75), ("dd2d", 0.95)])
def test_the_loss_falls(dataset: Dataset, form: Form, to: float, tmp_path: Path) -> None:
    # DD2D's own towers do not know that a pattern may be turned.
    schedule = replace(SCHEDULE, regime="paper" if form == "dd2d" else "library")
    losses = steps(Trainer(dataset, replace(SIZE, form=form), schedule, tmp_path), 80)
    assert np.mean(losses[-10:]) < to * np.mean(losses[:5])


def test_only_training_crystals_are_trained_on(dataset: Dataset, tmp_path: Path) -> None:
    trainer = Trainer(dataset, SIZE, SCHEDULE, tmp_path)
    rows = np.concatenate([trainer._next_batch() for _ in range(9)])
    assert set(rows) <= set(trainer.train_rows)
    assert len(set(rows)) > len(trainer.train_rows) // 2


def test_a_run_ends_on_time_and_logs_its_progress(dataset: Dataset, tmp_path: Path) -> None:
    Trainer(dataset, SIZE, replace(SCHEDULE, minutes=0.01, evaluate_minutes=0.004), tmp_path).run()
    lines = metrics(tmp_path)
    assert any("validation" in line for line in lines)
    assert lines[-1].keys() >= {"step", "epoch", "elapsed_s", "left_s", "pairs_per_s"}
    assert {"best.pt", "last.pt"} <= {path.name for path in tmp_path.iterdir()}


def test_training_stops_when_validation_no_longer_improves(dataset: Dataset, tmp_path: Path) -> None:
    still = replace(SCHEDULE, rate=1e-12, minutes=5, evaluate_minutes=1e-4, patience=2)
    trainer = Trainer(dataset, SIZE, still, tmp_path)
    trainer.run()
    assert trainer.progress.stale == 2
    assert trainer.progress.elapsed_s < 60


def test_a_killed_run_continues_as_if_uninterrupted(dataset: Dataset, tmp_path: Path) -> None:
    """The rate follows the clock, so it is held still here; all else comes from the checkpoint."""
    steady = replace(SCHEDULE, warm_up=1, decay=1e-9)
    whole = Trainer(dataset, SIZE, steady, tmp_path / "whole")
    steps(whole, 10)
    killed = Trainer(dataset, SIZE, steady, tmp_path / "killed")
    steps(killed, 4)
    killed._save_state()
    steps(killed, 3)  # lost
    resumed = Trainer(dataset, SIZE, steady, tmp_path / "killed", resume=True)
    assert resumed.progress.step == 4
    steps(resumed, 6)
    for one, other in zip(whole.towers.parameters(), resumed.towers.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(whole.bank, resumed.bank)


def test_the_rate_rises_holds_and_falls() -> None:
    schedule = Schedule(minutes=10, rate=1.0, warm_up=10, decay=0.5)
    rates = [
        schedule.compute_rate(step, elapsed) for step, elapsed in ((0, 0), (50, 200), (90, 450), (99, 600))
    ]
    assert rates == pytest.approx([0.1, 1.0, 0.5, 0.0])


def test_muon_steps_are_nearly_orthogonal_whatever_the_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((16, 48), (48, 16), (24, 24)):
        steep = torch.randn(shape, generator=generator) * torch.logspace(0, -1, shape[1])
        values = torch.linalg.svdvals(orthogonalize(steep))
        assert float(values.min()) > 0.4
        assert float(values.max()) < 1.4


def test_every_parameter_has_one_optimizer() -> None:
    network = TwinTowers(SIZE)
    assigned = [
        p
        for optimizer in build_optimizers(network, 1e-3)
        for g in optimizer.param_groups
        for p in g["params"]
    ]
    assert len({id(p) for p in assigned}) == len(assigned)
    assert {id(p) for p in assigned} == {id(p) for p in network.parameters()}


def test_parts_cover_the_batch_and_carry_the_whole_gradient(dataset: Dataset, tmp_path: Path) -> None:
    """The gradient summed over threads equals that of the whole batch."""
    trainer = Trainer(dataset, SIZE, replace(SCHEDULE, atoms_hidden=0.0), tmp_path)
    rows = trainer._next_batch()
    parts = trainer._draw_parts(rows)
    encoded = trainer.workers.encode(parts)
    covered = torch.cat([part.rows for part in parts])
    assert covered.sort().values.tolist() == list(range(3 * len(rows)))
    whole = torch.cat([part.encode(part.batch) for part in parts])[covered.argsort()]
    expected = torch.autograd.grad(whole.pow(3).sum(), trainer.parameters, allow_unused=True)
    gradients = [3 * vectors.detach() ** 2 for vectors in encoded]
    trainer.workers.add_gradients(encoded, gradients, trainer.parameters)
    for parameter, gradient in zip(trainer.parameters, expected, strict=True):
        if gradient is None:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)


def test_tokens_are_few_at_first_and_complete_later(dataset: Dataset, tmp_path: Path) -> None:
    trainer = Trainer(dataset, SIZE, replace(SCHEDULE, short=0.5, short_pairs=5), tmp_path)
    rows = trainer._next_batch()
    assert max(part.batch.q.shape[1] for part in trainer._draw_parts(rows)) == 5
    trainer.progress.elapsed_s = 0.6 * 60 * SCHEDULE.minutes
    assert max(part.batch.q.shape[1] for part in trainer._draw_parts(rows)) > 20


def test_a_run_of_other_data_or_towers_is_not_resumed(dataset: Dataset, tmp_path: Path) -> None:
    Trainer(dataset, SIZE, SCHEDULE, tmp_path)._save_state()
    Trainer(dataset, SIZE, SCHEDULE, tmp_path, resume=True)
    with pytest.raises(OptionError, match="other"):
        Trainer(dataset, replace(SIZE, form="sequence"), SCHEDULE, tmp_path, resume=True)
    parts = {part: rows[::-1] for part, rows in dataset.parts.items()}
    with pytest.raises(OptionError, match="other"):
        Trainer(replace(dataset, parts=parts), SIZE, SCHEDULE, tmp_path, resume=True)


def test_a_run_is_resumed_only_on_request(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no training run to resume"):
        Trainer(dataset, SIZE, SCHEDULE, tmp_path, resume=True)
    Trainer(dataset, SIZE, SCHEDULE, tmp_path)._save_state()
    with pytest.raises(OptionError, match="give --resume"):
        Trainer(dataset, SIZE, SCHEDULE, tmp_path)


@pytest.mark.parametrize("wrong", [{"minutes": 0}, {"batch": 0}, {"views": -1}, {"rate": float("nan")}])
def test_rejects_impossible_schedules(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        Schedule(**wrong)  # type: ignore[arg-type]


def test_rejects_a_split_without_validation(dataset: Dataset, tmp_path: Path) -> None:
    parts = dataset.parts | {SplitPart.VALIDATION: []}
    with pytest.raises(OptionError, match="validation"):
        Trainer(replace(dataset, parts=parts), SIZE, SCHEDULE, tmp_path)
