"""DPO through TRL's trainer instead of ours: the same pairs, tokens and loss, for those who know its curves.

TRL gets tokens, not text, so that both engines learn on what the board will ask; the better answer's own
likelihood is its `sft` loss beside. It replays nothing and does not go on where it was stopped: the same command
begins anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from perslm_runtime.errors import EngineError, InputError
from perslm_runtime.prompt import Conversation
from perslm_training_host.base_model import Base, Prompts
from perslm_training_host.moving import BETAS
from perslm_training_host.preferences import Pair, Wish, split
from perslm_training_host.runs import Run
from perslm_training_host.train_loop import LossIsNaN, Outcome, Plan

# TRL's names for the figures of our log.
_FIGURES = {
    "loss": "loss",
    "learning_rate": "rate",
    "rewards/accuracies": "wins",
    "rewards/margins": "margin",
    "eval_rewards/accuracies": "valid score",
    "eval_rewards/margins": "valid margin",
}


@dataclass(frozen=True, slots=True)
class Trl:
    """The parts of TRL that are needed, loaded."""

    trainer: Any
    config: Any
    callback: Any
    printer: Any
    dataset: Any


def library() -> Trl:
    """TRL, loaded (20 s). Raises EngineError with the next step where the extra is not here."""
    try:
        from datasets import Dataset  # noqa: PLC0415 - an extra
        from transformers import PrinterCallback, TrainerCallback  # noqa: PLC0415 - seconds to import
        from trl import DPOConfig, DPOTrainer  # noqa: PLC0415 - as above
    except ImportError as error:
        raise EngineError(f"TRL is not here ({error}): .venv-train/bin/pip install 'perslm[trl]'") from error
    return Trl(DPOTrainer, DPOConfig, TrainerCallback, PrinterCallback, Dataset)


def check(plan: Plan, *, replayed: bool) -> None:
    """Raise InputError for what only our own engine does."""
    if replayed or plan.patience:
        raise InputError("--replay and --patience are our own engine's: leave them out, or leave --engine trl out")


def tokens(prompts: Prompts, talk: Conversation, pairs: Sequence[Pair]) -> list[dict[str, list[int]]]:
    """What TRL reads of each pair: the board's own prompt, and both answers with the token that ends them."""
    rows = []
    for pair in pairs:
        good, bad = (prompts.dialogue(talk, pair.prompt, said.strip()) for said in (pair.chosen, pair.rejected))
        prompt = [*talk.head, *good.question]
        rows.append({"prompt_ids": prompt, "chosen_ids": list(good.answer), "rejected_ids": list(bad.answer)})
    return rows


def learn(
    trl: Trl, base: Base, frozen: Any, talk: Conversation, pairs: Sequence[Pair], wish: Wish, plan: Plan, run: Run
) -> Outcome:
    """Let `base` learn the pairs against `frozen`; afterwards it holds the last step's weights.

    Raises LossIsNaN. Ctrl-C ends it at once, and nothing is kept of it.
    """
    learned, held_out = split(pairs, wish.seed)
    validated = bool(held_out and plan.validate_every)
    reporter = _reporter(trl, run)
    trainer = _prepared(trl)(
        model=base.model,
        ref_model=frozen,
        args=_settings(trl, wish, plan, run, validated=validated, cpu=base.model.device.type == "cpu"),
        train_dataset=trl.dataset.from_list(tokens(base.prompts, talk, learned)),
        eval_dataset=trl.dataset.from_list(tokens(base.prompts, talk, held_out)) if validated else None,
        processing_class=base.prompts.tokenizer,
        optimizers=_moving(base, plan),
        callbacks=[reporter],
    )
    trainer.remove_callback(trl.printer)  # it writes to standard output, where the command's result goes
    try:
        ended = trainer.train()
    except KeyboardInterrupt:
        run.end("stopped", {"loss": reporter.loss})
        raise
    return Outcome(ended.global_step, reporter.loss, ended.metrics["train_runtime"], "done", reporter.best_score)


def _moving(base: Base, plan: Plan) -> tuple[Any, Any]:
    """Our optimizer and our learning rates, in the trainer's form: its own warm-up begins at a rate of nothing."""
    learned = [parameter for parameter in base.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=plan.rate, betas=BETAS, weight_decay=plan.weight_decay)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: plan.rate_at(step) / plan.rate)


def _prepared(trl: Trl) -> Any:
    class Prepared(trl.trainer):  # type: ignore[name-defined, misc]  # a class that is loaded when it is needed
        """TRL's trainer on rows that are tokens already."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    return Prepared


def _reporter(trl: Trl, run: Run) -> Any:
    class Reporter(trl.callback):  # type: ignore[name-defined, misc]  # as above
        """Writes TRL's figures into the run's log, and ends a run whose loss is no number."""

        loss = math.nan
        best_score: float | None = None
        line: Mapping[str, float] = {}

        def on_log(self, _args: Any, state: Any, _control: Any, logs: Mapping[str, Any], **_more: Any) -> None:
            found = {ours: float(logs[theirs]) for theirs, ours in _FIGURES.items() if theirs in logs}
            if not found:
                return
            self.loss = found.get("loss", self.loss)
            if "loss" in found and not math.isfinite(self.loss):
                raise LossIsNaN(f"the loss became {self.loss} in step {state.global_step}: take a lower --rate")
            if (score := found.get("valid score")) is not None:
                self.best_score = max(score, self.best_score or 0.0)
            kept = self.line if self.line.get("step") == state.global_step else {}
            self.line = {"step": state.global_step, **kept, **found}  # what is validated comes behind its step
            run.log(self.line)

    return Reporter()


def _settings(trl: Trl, wish: Wish, plan: Plan, run: Run, *, validated: bool, cpu: bool) -> Any:
    """Our plan in TRL's words. Nothing is sent anywhere, and nothing of the trainer's own is kept."""
    return trl.config(
        output_dir=str(run.folder / "trl"),
        max_steps=plan.steps, learning_rate=plan.rate, max_grad_norm=plan.clip,
        per_device_train_batch_size=wish.rows, per_device_eval_batch_size=wish.rows,
        gradient_accumulation_steps=plan.accumulate,
        loss_type=["sigmoid", "sft"], loss_weights=[1.0, wish.anchor], beta=wish.beta,
        max_length=None, remove_unused_columns=False, activation_checkpointing=False,
        bf16=plan.bf16, use_cpu=cpu, seed=plan.seed,
        eval_strategy="steps" if validated else "no", eval_steps=plan.validate_every or None,
        logging_steps=1, logging_nan_inf_filter=False, save_strategy="no", report_to=[], disable_tqdm=True,
        dataloader_pin_memory=not cpu,
    )  # fmt: skip
