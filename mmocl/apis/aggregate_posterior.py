import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mmocl.models.layers import at_least_float32, diagonal_log_density
from mmocl.structures import SlotOutput, SlotState

# Says in a file's metadata what it holds; a change of its contents needs another name.
_KIND = 'mmocl.AggregatePosterior.v1'
# Points and components that meet in one block of ``log_prob``: 32 MiB in float64.
_CHUNK = 2048


@dataclass(frozen=True)
class _Components:
    """Components R of many images; ``log_weight`` sums to one over those of one image."""

    log_weight: Float[Tensor, ' R']
    mean: Float[Tensor, 'R D']
    log_var: Float[Tensor, 'R D']


class AggregatePosterior:
    """Aggregate posterior of Probabilistic Slot Attention.

    Lemma 1 of `arXiv:2406.07141 <https://arxiv.org/abs/2406.07141>`_: the slots
    of M images as one Gaussian mixture of M K components,
    ``q(z) = 1/M sum_i sum_k pi_ik N(z; mu_ik, var_ik)``: what a slot looks like, whatever the
    image. Nothing is trained for it. This is the lemma's case of a deterministic encoder; there is
    none of a stochastic one in this package. Images are streamed by :meth:`add` and kept on the
    CPU, in float32 or float64.

    Means and variances must live in the space of the slots, see
    :func:`~mmocl.apis.composition.fit_posterior`.

    Attributes:
        num_images: Number of images M.
    """

    def __init__(self) -> None:
        self.num_images = 0
        self._chunks: list[_Components] = []

    def add(self, output: SlotOutput | SlotState) -> None:
        """Add the mixtures of a batch of images.

        Weights are normalised over the slots of every image. Slots that ``output.active`` does not
        mark are dropped before that; slots of weight 0 are kept.

        Args:
            output: Result of a slot head, or its state: means, log-variances (B, K, D) and
                log-weights (B, K).

        Raises:
            ValueError: If there are no variances or weights, if any value of a slot that is kept
                is NaN or infinite (a log-weight may be -inf), if an image has no active slot with
                weight, or if slots have another width D than before. Nothing is added then.
        """
        state, active = (
            (output.state, output.active) if isinstance(output, SlotOutput) else (output, None)
        )
        if state.log_var is None or state.log_weight is None:
            raise ValueError(
                'An aggregate posterior needs log_var and log_weight of the slots; '
                'ProbabilisticSlotAttention gives them, SlotAttention does not.'
            )
        mean, log_var, log_weight = map(_stored, (state.mean, state.log_var, state.log_weight))
        width = mean.shape[2]
        if self._chunks and width != self._chunks[0].mean.shape[1]:
            raise ValueError(
                f'Slots are {width} wide, those before were {self._chunks[0].mean.shape[1]} wide.'
            )
        kept = torch.ones_like(log_weight, dtype=torch.bool) if active is None else active.cpu()
        log_weight = log_weight.masked_fill(~kept, -math.inf)
        # NaN is not below infinity either.
        finite = mean[kept].isfinite().all() and log_var[kept].isfinite().all()
        if not finite or not (log_weight < math.inf).all():
            raise ValueError('Slots have NaN or infinite means, log-variances or log-weights.')
        without = (log_weight == -math.inf).all(dim=1).sum().item()
        if without:
            raise ValueError(f'{without} of {len(mean)} images have no active slot with weight.')
        log_weight = log_weight.log_softmax(dim=1)
        self._chunks.append(_Components(log_weight[kept], mean[kept], log_var[kept]))
        self.num_images += len(mean)

    @property
    def num_components(self) -> int:
        """Number of components, M K if no slot was dropped."""
        return sum(len(chunk.mean) for chunk in self._chunks)

    @property
    def weights(self) -> Float[Tensor, ' R']:
        """Mixing weights ``pi_ik / M`` of all components; they sum to one."""
        return self._components().log_weight.exp() / self.num_images

    @property
    def mean(self) -> Float[Tensor, 'R D']:
        """Means of all components."""
        return self._components().mean

    @property
    def std(self) -> Float[Tensor, 'R D']:
        """Standard deviations of all components."""
        return (0.5 * self._components().log_var).exp()

    def log_prob(self, points: Float[Tensor, 'P D']) -> Float[Tensor, ' P']:
        """Log-density of slots, on their device.

        Points and components meet block by block, so memory does not grow with P M K. Sums over the
        width D are in float64, with an error of about ``1e-16 * D * s`` nats: ``s`` is the largest
        squared distance from the mean point in units of a component's variance. So components that
        collapsed (a slot head with ``min_var=0`` allows it) have no meaningful density here.

        Args:
            points: Slots. The result has their dtype, for half types float32; below the range of
                float32 it is -inf.

        Raises:
            ValueError: If no image was added, or points have another width or are not finite.
        """
        components = self._components()
        if points.shape[1] != components.mean.shape[1]:
            raise ValueError(
                f'Points are {points.shape[1]} wide, slots {components.mean.shape[1]}.'
            )
        if not points.isfinite().all():
            raise ValueError('Points have NaN or infinite values.')
        points = at_least_float32(points)
        blocks = [_log_sum(block, components) for block in points.split(_CHUNK)]
        return torch.cat(blocks) - math.log(self.num_images)

    def sample(
        self,
        num: int | tuple[int, ...],
        generator: torch.Generator | None = None,
        equal_weights: bool = False,
    ) -> Float[Tensor, '*shape D']:
        """Draw slots, independently of each other.

        Args:
            num: Number of slots, or the leading shape of the result.
            generator: Source of randomness, on the CPU.
            equal_weights: Draw every component that has a weight as often as every other. Deviation
                from the paper, whose weights are shares of tokens.

        Returns:
            Slots ``(num, D)``, or ``(*num, D)``, on the CPU.

        Raises:
            ValueError: If no image was added.
        """
        components = self._components()
        shape = (num,) if isinstance(num, int) else tuple(num)
        # ``torch.multinomial`` takes 2**24 components at most, and sums their weights in float32.
        weight = components.log_weight.double().exp()
        cdf = (weight.sign() if equal_weights else weight).cumsum(0)
        draws = torch.rand(shape, generator=generator, dtype=torch.float64)
        # The first entry above a draw is never one of weight 0; the last one is 1, above all draws.
        index = torch.searchsorted(cdf / cdf[-1], draws, right=True)
        mean = components.mean[index]
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        return mean + (0.5 * components.log_var[index]).exp() * noise

    def sample_scenes(
        self,
        num_scenes: int,
        num_slots: int,
        generator: torch.Generator | None = None,
        equal_weights: bool = False,
    ) -> Float[Tensor, 'n K D']:
        """Draw K independent slots for every scene, as the released code does.

        Nothing makes the slots of a scene fit each other: one may get two backgrounds, or none.
        A slot is drawn by its weight, the share of the tokens that it won, so backgrounds are drawn
        most; with ``equal_weights`` objects are as frequent as among the slots of the images.

        Args:
            num_scenes: Number of scenes n.
            num_slots: Slots of a scene K.
            generator: Source of randomness, on the CPU.
            equal_weights: See :meth:`sample`.

        Raises:
            ValueError: If no image was added.
        """
        return self.sample((num_scenes, num_slots), generator, equal_weights)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file.

        It holds ``log_weight`` (``log pi_ik``, without 1/M), ``mean`` and ``log_var``, a row a
        component, and the number of images in its metadata. In logs, so that a weight too small for
        its dtype survives.

        Raises:
            ValueError: If no image was added.
        """
        components = self._components()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_file(vars(components), path, {'kind': _KIND, 'num_images': str(self.num_images)})

    @classmethod
    def load(cls, path: str | Path) -> 'AggregatePosterior':
        """Read what :meth:`save` wrote; more images can be added to it.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is of another kind.
        """
        posterior = cls()
        try:
            with safe_open(path, 'pt') as file:
                metadata = file.metadata() or {}
                if metadata.get('kind') != _KIND:
                    raise ValueError(f'{path} holds no aggregate posterior of this version.')
                parts = [file.get_tensor(name) for name in ('log_weight', 'mean', 'log_var')]
        except SafetensorError as error:
            raise ValueError(f'{path} is no readable safetensors file: {error}.') from error
        posterior._chunks = [_Components(*parts)]
        posterior.num_images = int(metadata['num_images'])
        return posterior

    def _components(self) -> _Components:
        """Join what was added so far, once."""
        if not self._chunks:
            raise ValueError('The aggregate posterior is empty: add images first.')
        if len(self._chunks) > 1:
            columns = zip(*(vars(chunk).values() for chunk in self._chunks), strict=True)
            self._chunks = [_Components(*map(torch.cat, columns))]
        return self._chunks[0]


def _stored(tensor: Tensor) -> Tensor:
    return at_least_float32(tensor.detach().cpu())


def _log_sum(points: Float[Tensor, 'P D'], components: _Components) -> Float[Tensor, ' P']:
    """Log of the sum of all weighted densities, a block of components after the other."""
    rows = (components.log_weight, components.mean, components.log_var)
    sums = []
    for log_weight, mean, log_var in zip(*(row.split(_CHUNK) for row in rows), strict=True):
        density = diagonal_log_density(
            points[None], mean.to(points)[None], log_var.to(points)[None]
        )
        sums.append((density[0] + log_weight.to(points)[:, None]).logsumexp(dim=0))
    return torch.stack(sums).logsumexp(dim=0)
