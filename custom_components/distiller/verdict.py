"""What distillation was worth, and whether a simpler model is better: in words, with intervals."""

from __future__ import annotations

from models import metrics
from models.gain import Gain
from models.spec import Task


def chooses_distilled(teacher_loss: float, control_loss: float, gain: Gain) -> bool:
    """Whether the distilled student goes on.

    There must be something to learn (the teacher's loss on eval is below the control's), and the
    student must not have lost quality beyond chance on the way.
    """
    return teacher_loss < control_loss and gain.state != "worse"


def distillation(
    task: Task,
    values: dict[str, float],
    gain: Gain,
    over_dropout: Gain,
    teacher_loss: float,
    control_loss: float,
) -> str:
    """One to three sentences about the student and its controls.

    Args:
      task: Names the metric.
      values: `distilled`, `control` and `control_dropout` to the metric on eval.
      gain: Of the distilled student over the control.
      over_dropout: Over the control with dropout.
      teacher_loss, control_loss: On eval.
    """
    name = metrics.PRIMARY[task]
    numbers = (
        f"{name} on eval: distilled {values['distilled']:.4f}, the same student on the labels "
        f"{values['control']:.4f}, with dropout {values['control_dropout']:.4f}."
    )
    if not teacher_loss < control_loss:
        return (
            f"Distillation does not help here: the teacher's validation loss "
            f"({teacher_loss:.4f}) is no better than that of the same student trained on the "
            f"labels ({control_loss:.4f}), so there is nothing to learn from it, and the student "
            f"trained on the labels goes on. {numbers}"
        )
    if gain.state == "worse":
        return (
            f"Distillation does not help here: {gain.words()} {name} against the same student "
            f"trained on the labels, which goes on. {numbers}"
        )
    if gain.state == "better":
        helps = f"Distillation helps here, by {gain.words()} {name}."
        return f"{helps}{_dropout(over_dropout)} {numbers}"
    seeds = "one seed" if gain.interval == "rows" else f"{gain.seeds} seeds"
    more = " More seeds tell more: `distillation: {seeds: 5}`." if gain.interval == "rows" else ""
    return (
        f"Whether distillation helps here cannot be told from {seeds}: {gain.words()}. The "
        f"teacher's validation loss is better than the control's, so its student goes on.{more} "
        f"{numbers}"
    )


def _dropout(gain: Gain) -> str:
    """Part of what distillation gives is regularisation, which dropout gives as well."""
    if gain.state == "better" or gain.value is None:
        return ""
    return f" Dropout alone may give as much: over it the gain is {gain.words()}."


def reference(task: Task, over_teacher: Gain, over_shipped: Gain) -> str | None:
    """A warning where boosted trees beat a network beyond chance; None where they do not."""
    name = metrics.PRIMARY[task]
    beaten = [
        f"{who} by {gain.words()} {name}"
        for who, gain in (
            ("the teacher", over_teacher),
            ("the student that goes on", over_shipped),
        )
        if gain.state == "better"
    ]
    if not beaten:
        return None
    return (
        "A simpler model is better on eval: gradient-boosted trees beat "
        + ", and ".join(beaten)
        + ". There is more to learn in these columns than the network found."
    )
