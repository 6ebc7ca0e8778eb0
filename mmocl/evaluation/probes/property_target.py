from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class PropertyTarget:
    """One property of all objects, as a probe learns and predicts it.

    Attributes:
        name: Name of the property.
        values: Standardised numbers (M, O, S), or labels (M, O) of a categorical property.
        size: How many numbers a probe gives for it: S, or one logit a class.
        guess: What is predicted without looking at slots (S,): the mean of the training objects,
            which is 0, or their most frequent label (1,).
        unseen: Classes that no training object has.
    """

    name: str
    values: Float[Tensor, 'M O S'] | Int[Tensor, 'M O']
    size: int
    guess: Float[Tensor, ' S'] | Int[Tensor, ' 1']
    unseen: tuple[int, ...] = ()

    @property
    def categorical(self) -> bool:
        """Whether labels are predicted, not numbers."""
        return not self.values.is_floating_point()

    @classmethod
    def from_values(
        cls,
        name: str,
        values: Shaped[np.ndarray, '...'],
        training: Bool[np.ndarray, 'M O'],
        num_classes: int | None = None,
    ) -> 'PropertyTarget':
        """Standardise numbers, or count classes, by the training objects.

        Args:
            name: Name of the property.
            values: Integers (M, O), or floats (M, O) or (M, O, S), zeros where there is no object.
            training: True for the objects of training images.
            num_classes: Number of classes; None: the largest label of all objects plus 1.

        Raises:
            ValueError: If labels are more than one an object, negative or not below
                ``num_classes``, or there are more classes than training objects, or no training
                object at all.
        """
        num_training = int(training.sum())
        if not num_training:
            raise ValueError(f'there is no object to train on for property {name!r}')
        if values.dtype.kind == 'f':
            if num_classes is not None:
                raise ValueError(
                    f'property {name!r} is continuous ({values.dtype}), but num_classes says '
                    f'{num_classes}; expected integer labels'
                )
            numbers = values.reshape(*values.shape[:2], -1).astype(np.float64)
            seen = numbers[training]
            # Rounding can give the standard deviation of a constant a value above 0.
            varies = seen.max(axis=0) > seen.min(axis=0)
            numbers = (numbers - seen.mean(axis=0)) / np.where(varies, seen.std(axis=0), 1)
            size = numbers.shape[2]
            return cls(name, torch.from_numpy(numbers).float(), size, torch.zeros(size))
        if values.ndim != 2:
            raise ValueError(
                f'categorical property {name!r} must have one label an object, got integers of '
                f'shape {values.shape}; floats are continuous'
            )
        if values.min(initial=0) < 0:
            raise ValueError(f'labels of property {name!r} must be 0 or more, got {values.min()}')
        needed = int(values.max(initial=0)) + 1
        num_classes = needed if num_classes is None else num_classes
        if num_classes < needed:
            raise ValueError(
                f'num_classes of property {name!r} is {num_classes}, but its labels go up to '
                f'{needed - 1}'
            )
        if num_classes > num_training:
            raise ValueError(
                f'property {name!r} has {num_classes} classes (labels 0 to {num_classes - 1}), but '
                f'there are only {num_training} training objects; expected at least as many'
            )
        counts = np.bincount(values[training].astype(np.int64), minlength=num_classes)
        return cls(
            name,
            torch.from_numpy(values.astype(np.int64)),
            num_classes,
            torch.tensor([int(counts.argmax())]),
            tuple(np.flatnonzero(counts == 0).tolist()),
        )

    def losses(
        self, outputs: Float[Tensor, '*N P'], values: Shaped[Tensor, '...']
    ) -> Float[Tensor, '*N']:
        """Squared error, as a mean over S numbers, or cross-entropy, of every prediction.

        Args:
            outputs: Numbers or logits ``(*N, size)``.
            values: True ``values``, ``(*N, S)`` or ``(*N,)``.
        """
        if not self.categorical:
            return (outputs - values).square().mean(dim=-1)
        logits, labels = outputs.flatten(0, -2), values.flatten()
        return functional.cross_entropy(logits, labels, reduction='none').view(values.shape)

    def pair_losses(
        self, outputs: Float[Tensor, 'B K P'], values: Shaped[Tensor, '...']
    ) -> Float[Tensor, 'B K O']:
        """Loss of the prediction of every slot for every object.

        Args:
            outputs: Numbers or logits of the slots.
            values: True ``values`` of the objects (B, O, S) or (B, O).
        """
        if not self.categorical:
            return (outputs[:, :, None] - values[:, None]).square().mean(dim=3)
        labels = values[:, None].expand(-1, outputs.shape[1], -1)
        return -outputs.log_softmax(dim=2).gather(2, labels)
