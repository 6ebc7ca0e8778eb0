"""Do two training runs find the same slots, up to one affine map?"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

Slots = Float[np.ndarray, 'M K D']
Matching = Int[np.ndarray, 'M K']
Rows = Float[np.ndarray, 'N D']
# Weight (D, D) and offset (D,): row vectors x become x @ weight + offset.
Map = tuple[Float[np.ndarray, 'D D'], Float[np.ndarray, ' D']]
Fit = Callable[[Rows, Rows], Map]

# Single precision leaves noise of about this size where a coordinate or a direction is dead.
_TOLERANCE = 1e-6
# Neither half-step can raise the residual, so rounds end by themselves; this is a safeguard.
_MAX_ROUNDS = 100


@dataclass(frozen=True, eq=False)
class SlotCorrelation:
    """How well the slots of run b, mapped, agree with those of run a on held-out images.

    ``score`` is the mean Pearson correlation over the D coordinates, ``r2`` the mean coefficient
    of determination; a coordinate of run a that does not vary counts as 0 in both. Slot
    ``matching[m, k]`` of run b belongs to slot ``k`` of run a in image ``m``.
    """

    score: float
    r2: float
    matching: Matching


def smcc(
    slots_a: Float[np.ndarray, '...'],
    slots_b: Float[np.ndarray, '...'],
    affine: bool = True,
    matching: Int[np.ndarray, '...'] | None = None,
    num_starts: int = 8,
    seed: int = 0,
) -> SlotCorrelation:
    """Slot mean correlation coefficient of two runs on the same images.

    PSA, `arXiv:2406.07141 <https://arxiv.org/abs/2406.07141>`_, Eq. 12: slots are matched image by
    image, run b is mapped onto run a, and coordinates are correlated. One map serves all slots,
    which are pooled: their order means nothing. It is fitted on a random half of the images and
    scored on the other.

    Matching needs the map and the map needs the matching. Both are found on the fitting half by
    turns, from several first matchings: raw slots, standardised slots, a map that needs no matching
    (the regression of per-image means), and random rotations of whitened slots. The one with
    the least residual is kept, and its map matches the held-out half. Because matching
    favours the best agreement, unrelated runs score above 0: report :func:`chance_level` beside it.

    The score is not symmetric. A run a that lost a dimension is predicted well by any other one
    and predicts none, so call it both ways.

    Deviation from the equation: slots are pooled and the mean is over D coordinates; it has K D.
    Deviations from the released code: that matches raw vectors of two unaligned spaces, maps by
    kernel ridge regression, correlates the prediction with its own input, takes absolute values
    and searches the best pairs of coordinates on the images that it scores; exactly related runs
    stay below 1 and independent ones far above 0. Here signs count everywhere.

    Args:
        slots_a: Slots (M, K, D) of one run; M images, K slots each.
        slots_b: Slots (M, K, D) of the other run on the same images in the same order; slots of an
            image in any order.
        affine: Map by least squares (agreement up to an affine map). Otherwise every coordinate of
            run a is explained by one coordinate of run b, one to one, with scale, sign and offset
            (agreement up to permuted and scaled coordinates).
        matching: A known matching (M, K), for instance by what the slots attend to; see
            :class:`SlotCorrelation`. The search above falls away, and with it the chance floor.
        num_starts: Number of random rotations.
        seed: Seed of the split and of the rotations.

    Raises:
        ValueError: If shapes are wrong, values are not finite, rows of ``matching`` are no
            permutations, or there are too few images for the map.
    """
    _check(slots_a, slots_b, matching)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(slots_a))
    half = len(order) // 2
    fitting, held_out = order[:half], order[half:]
    raw = slots_a.astype(np.float64), slots_b.astype(np.float64)
    # Neither the score nor either family of maps depends on the units of the coordinates.
    a, b = (_standardised(slots, slots[fitting]) for slots in raw)
    fit = _fit_affine if affine else _fit_coordinates
    if matching is None:
        standard = a[fitting], b[fitting]
        starts = itertools.chain(
            [_match(raw[0][fitting], raw[1][fitting])],
            _first_matchings(*standard, fit, num_starts, rng),
        )
        weight, offset = _align(*standard, starts, fit)
        matching = _match(a, b @ weight + offset)
    b = _reorder(b, matching)
    weight, offset = fit(_rows(b[fitting]), _rows(a[fitting]))
    want, got = _rows(a[held_out]), _rows(b[held_out]) @ weight + offset
    return SlotCorrelation(float(_pearson(want, got).mean()), _r2(want, got), matching)


def chance_level(
    slots_a: Float[np.ndarray, '...'],
    slots_b: Float[np.ndarray, '...'],
    affine: bool = True,
    matching: Int[np.ndarray, '...'] | None = None,
    num_starts: int = 8,
    seed: int = 0,
) -> SlotCorrelation:
    """What :func:`smcc` gives when no slot of run b belongs to its image.

    Every image of run a meets another image of run b. What is left is the gain of the matching and
    whatever slots share over all images, such as a fixed order with a given ``matching``.

    Args:
        slots_a: As in :func:`smcc`, like all that follow.
        slots_b: Slots (M, K, D) of the other run.
        affine: Kind of map.
        matching: A known matching (M, K) of the unshuffled images; it is applied before shuffling.
        num_starts: Number of random rotations.
        seed: Seed of the shuffling, the split and the rotations.

    Returns:
        The result on shuffled images; its matching refers to the shuffled run b.

    Raises:
        ValueError: As :func:`smcc`.
    """
    _check(slots_a, slots_b, matching)
    if matching is not None:
        slots_b = _reorder(slots_b, matching)
        matching = np.tile(np.arange(matching.shape[1]), (len(matching), 1))
    # One long cycle: random, and no image keeps its place.
    cycle = np.random.default_rng(seed).permutation(len(slots_b))
    shuffled = np.empty_like(slots_b)
    shuffled[cycle] = slots_b[np.roll(cycle, 1)]
    return smcc(slots_a, shuffled, affine, matching, num_starts, seed)


def match_by_attention(
    attn_a: Float[np.ndarray, '...'], attn_b: Float[np.ndarray, '...']
) -> Matching:
    """Match slots of two runs by the tokens that they share.

    Args:
        attn_a: Attention (M, K, N) of one run.
        attn_b: Attention (M, K, N) of the other run on the same tokens.

    Returns:
        Matching (M, K) of greatest summed overlap, for :func:`smcc`.

    Raises:
        ValueError: If shapes are wrong or values are not finite.
    """
    if attn_a.ndim != 3 or attn_a.shape != attn_b.shape:
        raise ValueError(
            f'attention of both runs must have one shape (M, K, N), got {attn_a.shape} and '
            f'{attn_b.shape}'
        )
    if not (np.isfinite(attn_a).all() and np.isfinite(attn_b).all()):
        raise ValueError('attention holds values that are not finite')
    return _match(attn_a.astype(np.float64), attn_b.astype(np.float64))


def _check(
    slots_a: Float[np.ndarray, '...'],
    slots_b: Float[np.ndarray, '...'],
    matching: Int[np.ndarray, '...'] | None,
) -> None:
    if slots_a.ndim != 3 or slots_a.shape != slots_b.shape or not slots_a.size:
        raise ValueError(
            f'slots of both runs must have one shape (M, K, D), got {slots_a.shape} and '
            f'{slots_b.shape}'
        )
    if not (np.isfinite(slots_a).all() and np.isfinite(slots_b).all()):
        raise ValueError('slots hold values that are not finite')
    num_images, num_slots, dim = slots_a.shape
    # At least two slots for every unknown of a coordinate; a noisy score, but not a made-up one.
    needed = max(4, 2 * -(-2 * (dim + 1) // num_slots))
    if num_images < needed:
        raise ValueError(
            f'{num_images} images are too few for {num_slots} slots of {dim} dimensions; '
            f'at least {needed} are needed, and many more for a steady score'
        )
    if matching is not None:
        if matching.shape != (num_images, num_slots):
            raise ValueError(
                f'matching must have shape {(num_images, num_slots)}, got {matching.shape}'
            )
        if (np.sort(matching, axis=1) != np.arange(num_slots)).any():
            raise ValueError(f'every row of matching must permute 0 to {num_slots - 1}')


def _first_matchings(
    a: Slots, b: Slots, fit: Fit, num_starts: int, rng: np.random.Generator
) -> Iterator[Matching]:
    yield _match(a, b)
    # The mean over the slots of an image does not depend on their order and is mapped like them.
    weight, offset = fit(b.mean(axis=1), a.mean(axis=1))
    yield _match(a, b @ weight + offset)
    white_a, white_b = _whitened(a), _whitened(b)
    dim = a.shape[2]
    for _ in range(num_starts):
        # Random signs, so that reflections are as likely as rotations.
        rotation, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
        yield _match(white_a, white_b @ (rotation * rng.choice([-1.0, 1.0], dim)))


def _align(a: Slots, b: Slots, starts: Iterator[Matching], fit: Fit) -> Map:
    """Fit and match by turns from every start; the map with the least residual."""
    results = [_alternate(a, b, start, fit) for start in starts]
    return min(results, key=lambda result: result[0])[1]


def _alternate(a: Slots, b: Slots, matching: Matching, fit: Fit) -> tuple[float, Map]:
    for _ in range(_MAX_ROUNDS):
        weight, offset = fit(_rows(_reorder(b, matching)), _rows(a))
        mapped = b @ weight + offset
        previous, matching = matching, _match(a, mapped)
        if (matching == previous).all():
            break
    residual = np.square(a - _reorder(mapped, matching)).mean()
    return float(residual), (weight, offset)


def _match(a: Float[np.ndarray, 'M K F'], b: Float[np.ndarray, 'M K F']) -> Matching:
    """Match by greatest summed product, which is least summed squared distance."""
    gains = a @ b.transpose(0, 2, 1)
    best = map(partial(linear_sum_assignment, maximize=True), gains)
    return np.array([columns for _, columns in best])


def _fit_affine(source: Rows, target: Rows) -> Map:
    ones = np.ones((len(source), 1))
    solution, *_ = np.linalg.lstsq(np.hstack([source, ones]), target, rcond=_TOLERANCE)
    return solution[:-1], solution[-1]


def _fit_coordinates(source: Rows, target: Rows) -> Map:
    mean_source, mean_target = source.mean(axis=0), target.mean(axis=0)
    source, target = source - mean_source, target - mean_target
    power = np.square(source).sum(axis=0)
    power = np.where(power > _TOLERANCE * len(source), power, np.inf)
    slopes = source.T @ target / power[:, None]
    scale = np.maximum(np.sqrt(np.square(target).sum(axis=0)), _TOLERANCE)
    correlation = source.T @ target / np.sqrt(power)[:, None] / scale
    rows, columns = linear_sum_assignment(np.abs(correlation), maximize=True)
    weight = np.zeros_like(slopes)
    weight[rows, columns] = slopes[rows, columns]
    return weight, mean_target - mean_source @ weight


def _reorder(slots: Float[np.ndarray, 'M K F'], matching: Matching) -> Float[np.ndarray, 'M K F']:
    return np.take_along_axis(slots, matching[:, :, None], axis=1)


def _rows(slots: Slots) -> Rows:
    return slots.reshape(-1, slots.shape[2])


def _standardised(slots: Slots, reference: Float[np.ndarray, 'N K D']) -> Slots:
    """Unit variance over the slots of ``reference``; coordinates that do not vary become 0."""
    mean, std = reference.mean(axis=(0, 1)), reference.std(axis=(0, 1))
    alive = std > _TOLERANCE * np.abs(reference).max(axis=(0, 1))
    return np.where(alive, (slots - mean) / np.where(alive, std, 1), 0)


def _whitened(slots: Slots) -> Slots:
    """Unit covariance, in directions that vary at all."""
    rows = _rows(slots)
    rows = rows - rows.mean(axis=0)
    left, scale, right = np.linalg.svd(rows, full_matrices=False)
    alive = scale > _TOLERANCE * scale[0]
    return ((left * alive) @ right * len(rows) ** 0.5).reshape(slots.shape)


def _pearson(x: Rows, y: Rows) -> Float[np.ndarray, ' D']:
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norm = np.sqrt(np.square(x).sum(axis=0) * np.square(y).sum(axis=0))
    # Inputs have unit scale, so that this means a coordinate or a prediction that is constant.
    alive = norm > _TOLERANCE * len(x)
    return np.where(alive, (x * y).sum(axis=0) / np.where(alive, norm, 1), 0)


def _r2(want: Rows, got: Rows) -> float:
    total = np.square(want - want.mean(axis=0)).sum(axis=0)
    error = np.square(want - got).sum(axis=0)
    alive = total > _TOLERANCE * len(want)
    return float(np.where(alive, 1 - error / np.where(alive, total, 1), 0).mean())
