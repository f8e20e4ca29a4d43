"""The student as distilling calls it: rows of tokens in, the mean loss of a lesson out. DDP and FSDP wrap this.

It also writes by itself (`rollout`): what a student says is what it has to be corrected in. Its dice are thrown
from a seed given each time, so the same step draws the same words after a resume.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perslm_training_host.lessons import CHUNK, Lesson, mean_loss


class StudentModel(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A causal model with its body and its head apart."""

    def __init__(self, model: Any, chunk: int = CHUNK) -> None:
        super().__init__()
        self.model, self._chunk = model, chunk

    def forward(self, tokens: Tensor, lesson: Lesson | None = None, cache: Any = None) -> Tensor:
        """With a lesson its mean loss over `tokens` [rows, length]; without, the logits [rows, words] that follow.

        `cache` is what the model has read before `tokens`; it grows.
        """
        if lesson is None:
            last: Tensor = self.model(
                input_ids=tokens, past_key_values=cache, use_cache=cache is not None, logits_to_keep=1
            ).logits[:, -1]
            return last
        hidden = self.model.model(input_ids=tokens, use_cache=False).last_hidden_state
        chosen = hidden.reshape(-1, hidden.shape[-1])[lesson.sources]
        return mean_loss(chosen, self.model.lm_head.weight, cap_of(self.model), lesson, self._chunk)


def cap_of(model: Any) -> float | None:
    """Between what a model presses its logits, where it does."""
    cap = getattr(model.config, "final_logit_softcapping", None)
    return float(cap) if cap else None


def rollout(model: nn.Module, prompts: Tensor, count: int, seed: int, words: int) -> Tensor:
    """`prompts` [rows, length] with `count` tokens more that the student draws, of the first `words` words.

    `model` is the StudentModel or what the group made of it; all processes of a group draw equally many tokens,
    which sharing by FSDP needs.
    """
    from transformers import DynamicCache  # noqa: PLC0415 - seconds to import

    dice = torch.Generator(device=prompts.device).manual_seed(seed)
    cache = DynamicCache()
    found, fresh = prompts, prompts
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for _ in range(count):
            logits = model(fresh, None, cache)[:, :words]
            fresh = torch.multinomial(logits.float().softmax(-1), 1, generator=dice)
            found = torch.cat([found, fresh], dim=1)
    model.train(was_training)
    return found
