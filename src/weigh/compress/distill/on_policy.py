"""A student taught on text of its own writing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

from pydantic import Field

from weigh.choice import Needs, Unfit
from weigh.compress.distill import Calibration, Distiller
from weigh.compress.distill._student import Student
from weigh.compress.distill._students import Class, checkpoint, gathered, plan_of, written
from weigh.model.distilling import Aim, Distilled, counting, lesson, need_same_words
from weigh.model.imports import hushed
from weigh.model.source import Source
from weigh.model.training import train

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@final
class OnPolicy(Student):
    """Teaches a language model's student on what the student itself writes, judged by the teacher (GKD).

    Good where the student will write long texts: it learns what to do after its own mistakes, which the text of others
    never shows. Generalised Jensen-Shannon divergence between both distributions, of TRL.

    Bad for time, since the student writes before each such step; and early on, while what it writes makes no sense: it
    learns from the text first, as `logits` does (`warm`).

    Source: Agarwal et al., On-policy distillation of language models (arXiv 2306.13649); TRL's `GKDTrainer`, of which
    loss and sampling are taken, in the training loop that all students share.
    """

    needs: ClassVar[Needs] = Needs(packages=(*Distiller.needs.packages, "trl>=1.16"), extra="compress")

    warm: float = Field(0.5, ge=0, lt=1, description="share of steps, the first, that teach as the option logits does")
    lmbda: float = Field(0.5, ge=0, le=1, description="share of the other steps that are on the student's own text")
    beta: float = Field(
        0.5, ge=0, le=1, description="0: KL(teacher || student), 1: KL(student || teacher), between: Jensen-Shannon"
    )
    sampling: float = Field(0.9, gt=0, description="temperature at which the student writes")
    prompt: float = Field(0.5, gt=0, lt=1, description="share of a window that is given, the rest the student writes")

    def convert(self, source: Source, calibration: Calibration, folder: Path) -> Path:
        if source.kind != "language":
            raise Unfit("on_policy teaches a student on what it writes, and this model writes no text: type logits")
        pupils = gathered(self, source)
        need_same_words(pupils.teacher, pupils.student)
        return written(pupils, source, calibration, folder, self._lesson(pupils, source, calibration))

    def _lesson(self, pupils: Class, source: Source, calibration: Calibration) -> Distilled:
        import numpy as np
        import torch

        gkd, tokens, asked = trainer(), torch.from_numpy(calibration.tokens.copy()), {"rows": 0, "tokens": 0}
        own, warm = np.random.default_rng([self.seed, 1]).random(self.steps) < self.lmbda, round(self.warm * self.steps)

        def loss(places: NDArray[np.intp], step: int) -> Any:
            ids = tokens[torch.from_numpy(places)]
            if step < warm:
                return lesson(pupils.teacher, pupils.student, {"input_ids": ids}, Aim())
            mask, labels = torch.ones_like(ids), ids
            if own[step]:
                ids, mask, labels = self._written(gkd, pupils.student, ids)
            return gkd_loss(gkd, pupils, ids, mask, labels, self.beta)

        kept = checkpoint(self, source, calibration)
        with counting(pupils.teacher, asked):
            losses = train(pupils.student, loss, calibration.rows, plan_of(self), checkpoint=kept, tally=asked)
        return Distilled(pupils.student, losses, asked)

    def _written(self, gkd: Any, student: Any, ids: Any) -> Any:
        """The windows' beginnings, continued by the student: tokens, mask, and labels (-100 in what was given)."""
        import torch
        from transformers import GenerationConfig

        given = ids[:, : max(1, round(self.prompt * ids.shape[1]))]
        end = student.generation_config.eos_token_id
        config = GenerationConfig(
            max_new_tokens=max(1, ids.shape[1] - given.shape[1]), do_sample=True, temperature=self.sampling, top_k=0,
            top_p=1.0, eos_token_id=end, pad_token_id=0 if end is None else end if isinstance(end, int) else end[0],
        )  # fmt: skip
        prompts = {"prompts": given, "prompt_attention_mask": torch.ones_like(given)}
        with _hushed():
            return gkd.generate_on_policy_outputs(student, prompts, config)


def gkd_loss(gkd: Any, pupils: Class, ids: Any, mask: Any, labels: Any, beta: float) -> Any:
    """What `GKDTrainer.compute_loss` computes: the divergence a labelled token."""
    import torch

    mine = pupils.student(input_ids=ids, attention_mask=mask, use_cache=False).logits
    with torch.no_grad():
        theirs = pupils.teacher(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return gkd.generalized_jsd_loss(mine[:, :-1].float(), theirs[:, :-1].float(), labels[:, 1:], beta=beta)


@contextmanager
def _hushed() -> Iterator[None]:
    """Without the warning of transformers that TRL passes arguments of `generate` in two ways."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def trainer() -> Any:
    """TRL's `GKDTrainer`, which lives among what TRL calls experimental."""
    with hushed(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are importing from 'trl.experimental'")
        from trl.experimental.gkd import GKDTrainer
    return GKDTrainer
