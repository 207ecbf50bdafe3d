"""Every distillation loss against NumPy in float64: values, and gradients by differences."""

import mxnet as mx
import numpy as np
import pytest

from gluonzip.gluon.distill import losses as L

rng = np.random.default_rng(5)
S, T, T2 = (rng.standard_normal((4, 5)) * 2 for _ in range(3))
LABEL = np.array([0, 4, 2, 2])
MAP_S, MAP_T = (rng.standard_normal((3, 4, 2, 3)) for _ in range(2))
MAP_LABEL = rng.integers(0, 4, (3, 2, 3))
FLAT_S, FLAT_T = rng.standard_normal((5, 3)), rng.standard_normal((5, 4))


# ---------------------------------------------------------------- the formulas, over axis 1
def log_softmax(x):
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def at(x, label):
    return np.take_along_axis(x, np.expand_dims(label, 1), 1).squeeze(1)


def per_sample(x):
    return x.reshape(len(x), -1).mean(1)


def cross_entropy(s, label):
    return -at(log_softmax(s), label)


def kl(s, t, heat):
    p, q = log_softmax(t / heat), log_softmax(s / heat)
    return (np.exp(p) * (p - q)).sum(1)


def soft(s, t, label, heat, alpha):
    return per_sample(alpha * heat**2 * kl(s, t, heat) + (1 - alpha) * cross_entropy(s, label))


def hard(s, t, label, alpha):
    loss = alpha * cross_entropy(s, t.argmax(1)) + (1 - alpha) * cross_entropy(s, label)
    return per_sample(loss)


def logits(s, t, label, alpha):
    return per_sample(alpha * ((s - t) ** 2).mean(1) + (1 - alpha) * cross_entropy(s, label))


def decoupled(s, t, label, heat, alpha, target, others):
    """Term by term as in the paper, sample by sample: (N, C) only."""
    losses = []
    for row, teacher, y in zip(s, t, label, strict=True):
        p, q = (np.exp(log_softmax(x[None] / heat))[0] for x in (teacher, row))
        binary = p[y] * np.log(p[y] / q[y]) + (1 - p[y]) * np.log((1 - p[y]) / (1 - q[y]))
        rest = np.arange(len(p)) != y
        p_rest, q_rest = p[rest] / p[rest].sum(), q[rest] / q[rest].sum()
        among = (p_rest * np.log(p_rest / q_rest)).sum()
        ce = cross_entropy(row[None], np.array([y]))[0]
        losses.append(alpha * heat**2 * (target * binary + others * among) + (1 - alpha) * ce)
    return np.array(losses)


def attention(s, t, power):
    def normal(x):
        flat = (np.abs(x) ** power).sum(1).reshape(len(x), -1)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    return ((normal(s) - normal(t)) ** 2).sum(1)


def relational(s, t, distance, angle):
    """Loops over pairs and triples."""
    s, t = s.reshape(len(s), -1), t.reshape(len(t), -1)
    n = len(s)

    def huber(x):
        return 0.5 * x**2 if abs(x) <= 1 else abs(x) - 0.5

    def distances(x):
        d = np.array([[np.linalg.norm(a - b) for b in x] for a in x])
        return d / (d.sum() / (n * (n - 1)))

    def cosine(x, i, j, k):
        if j in (i, k):
            return 0.0
        a, b = x[i] - x[j], x[k] - x[j]
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    ds, dt = distances(s), distances(t)
    result = np.zeros(n)
    for j in range(n):
        result[j] += distance * sum(huber(ds[i, j] - dt[i, j]) for i in range(n)) / n
        triples = (
            huber(cosine(s, i, j, k) - cosine(t, i, j, k)) for i in range(n) for k in range(n)
        )
        result[j] += angle * sum(triples) / n**2
    return result


def hint(s, t):
    return 0.5 * per_sample((s - t) ** 2)


def ensemble(s, teachers, label, heat, alpha, shares):
    p = sum(w * np.exp(log_softmax(t / heat)) for w, t in zip(shares, teachers, strict=True))
    q = log_softmax(s / heat)
    divergence = (p * (np.log(p) - q)).sum(1)
    return alpha * heat**2 * divergence + (1 - alpha) * cross_entropy(s, label)


CASES = {
    "soft": (L.DistillationLoss(3, 0.7), (S, T, LABEL), lambda *a: soft(*a, 3, 0.7)),
    "soft, per pixel": (
        L.DistillationLoss(2, 0.6, axis=1),
        (MAP_S, MAP_T, MAP_LABEL),
        lambda *a: soft(*a, 2, 0.6),
    ),
    "soft, per anchor": (
        L.DistillationLoss(2, 0.6, axis=-1),
        (*(x.reshape(3, 4, 6).transpose(0, 2, 1) for x in (MAP_S, MAP_T)), MAP_LABEL.reshape(3, 6)),
        lambda s, t, y: soft(s.transpose(0, 2, 1), t.transpose(0, 2, 1), y, 2, 0.6),
    ),
    "hard": (L.HardLabelLoss(0.3), (S, T, LABEL), lambda *a: hard(*a, 0.3)),
    "hard, per pixel": (
        L.HardLabelLoss(0.3, axis=1),
        (MAP_S, MAP_T, MAP_LABEL),
        lambda *a: hard(*a, 0.3),
    ),
    "logits": (L.LogitsLoss(0.8), (S, T, LABEL), lambda *a: logits(*a, 0.8)),
    "logits, per pixel": (
        L.LogitsLoss(1.0, axis=1),
        (MAP_S, MAP_T),
        lambda s, t: logits(s, t, MAP_LABEL, 1.0),
    ),
    "decoupled": (
        L.DecoupledLoss(2, 0.6, target=1.5, others=4),
        (S, T, LABEL),
        lambda *a: decoupled(*a, 2, 0.6, 1.5, 4),
    ),
    "decoupled, per pixel": (
        L.DecoupledLoss(2, 0.6, target=1.5, others=4, axis=1),
        (MAP_S, MAP_T, MAP_LABEL),
        lambda s, t, y: (
            decoupled(
                *(x.transpose(0, 2, 3, 1).reshape(-1, 4) for x in (s, t)), y.ravel(), 2, 0.6, 1.5, 4
            )
            .reshape(3, -1)
            .mean(1)
        ),
    ),
    "attention": (L.AttentionLoss(), (MAP_S, MAP_T[:, :2]), lambda *a: attention(*a, 2)),
    "attention, p=3": (L.AttentionLoss(3), (MAP_S, MAP_T), lambda *a: attention(*a, 3)),
    "distances": (L.RelationalLoss(1, 0), (FLAT_S, FLAT_T), lambda *a: relational(*a, 1, 0)),
    "angles": (L.RelationalLoss(0, 2), (FLAT_S, FLAT_T), lambda *a: relational(*a, 0, 2)),
    "relations of maps": (
        L.RelationalLoss(1, 2),
        (MAP_S * 3, MAP_T),
        lambda *a: relational(*a, 1, 2),
    ),
    "hint": (L.HintLoss(), (MAP_S, MAP_T), hint),
    "weight": (
        L.DistillationLoss(3, 0.7, weight=0.25),
        (S, T, LABEL),
        lambda *a: 0.25 * soft(*a, 3, 0.7),
    ),
}
for combine, expected in {
    "losses": lambda s, a, b, y: 0.25 * soft(s, a, y, 3, 0.7) + 0.75 * soft(s, b, y, 3, 0.7),
    "scores": lambda s, a, b, y: soft(s, 0.25 * a + 0.75 * b, y, 3, 0.7),
    "probabilities": lambda s, a, b, y: ensemble(s, (a, b), y, 3, 0.7, (0.25, 0.75)),
}.items():
    loss = L.SeveralTeachersLoss(L.DistillationLoss(3, 0.7), (1, 3), combine)
    CASES[f"several, {combine}"] = (
        # bound early: the loop goes on
        lambda s, a, b, y, loss=loss: loss(s, [a, b], y),
        (S, T, T2, LABEL),
        expected,
    )


def difference(function, student, others):
    """d sum(function) / d student, by central differences in float64."""
    gradient = np.zeros_like(student)
    for index in np.ndindex(student.shape):
        step = np.zeros_like(student)
        step[index] = 1e-5
        high, low = (function(student + d, *others).sum() for d in (step, -step))
        gradient[index] = (high - low) / 2e-5
    return gradient


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name, hybrid):
    loss, arrays, expected = CASES[name]
    if hasattr(loss, "hybridize"):
        loss.hybridize(hybrid)
    inputs = [mx.nd.array(a) for a in arrays]
    student, teacher = inputs[:2]
    student.attach_grad()
    teacher.attach_grad()
    with mx.autograd.record():
        value = loss(*inputs)
    value.backward()
    np.testing.assert_allclose(value.asnumpy(), expected(*arrays), rtol=1e-4, atol=1e-5)
    assert value.shape == (len(arrays[0]),)
    wanted = difference(expected, arrays[0], arrays[1:])
    np.testing.assert_allclose(student.grad.asnumpy(), wanted, rtol=2e-3, atol=2e-4)
    assert not teacher.grad.asnumpy().any()


def test_decoupled_is_the_classical_loss_taken_apart():
    """KL = binary KL + (1 - p_label) KL among the others (eq. 5 of the paper), for one sample."""
    for i in range(len(S)):
        s, t, y = S[i : i + 1], T[i : i + 1], LABEL[i : i + 1]
        rest = 1 - np.exp(at(log_softmax(t / 2), y))[0]
        parts = L.DecoupledLoss(2, 1.0, target=1, others=rest)
        whole = L.DistillationLoss(2, 1.0)
        s, t, y = map(mx.nd.array, (s, t, y))
        assert parts(s, t, y).asscalar() == pytest.approx(whole(s, t).asscalar(), rel=1e-4)


def test_a_very_sure_teacher_gives_finite_losses():
    sure = mx.nd.array([[80.0, 0, -80, 3, 1]])
    label = mx.nd.array([0])
    student = mx.nd.array(S[:1])
    student.attach_grad()
    for loss in (L.DecoupledLoss(1, 0.5), L.DistillationLoss(1, 0.5)):
        with mx.autograd.record():
            value = loss(student, sure, label)
        value.backward()
        assert np.isfinite(value.asnumpy()).all()
        assert np.isfinite(student.grad.asnumpy()).all()


def test_equal_samples_give_no_nan():
    same = mx.nd.ones((3, 4))
    same.attach_grad()
    with mx.autograd.record():
        value = L.RelationalLoss()(same, mx.nd.array(FLAT_T[:3]))
    value.backward()
    assert np.isfinite(value.asnumpy()).all()
    assert np.isfinite(same.grad.asnumpy()).all()


def test_a_weight_for_each_position():
    loss = L.DistillationLoss(2, 1.0, axis=1)
    mask = rng.integers(0, 2, (3, 1, 2, 3)).astype(float)
    got = loss(mx.nd.array(MAP_S), mx.nd.array(MAP_T), None, mx.nd.array(mask)).asnumpy()
    np.testing.assert_allclose(got, per_sample(4 * kl(MAP_S, MAP_T, 2) * mask[:, 0]), rtol=1e-4)


@pytest.mark.parametrize("hybrid", [False, True])
def test_alpha_may_change_while_training(hybrid):
    loss = L.DistillationLoss(3, 0.7)
    loss.hybridize(hybrid)
    arrays = [mx.nd.array(a) for a in (S, T, LABEL)]
    for alpha in (0.7, 0.2, 1.0):
        loss.alpha = alpha
        np.testing.assert_allclose(loss(*arrays).asnumpy(), soft(S, T, LABEL, 3, alpha), rtol=1e-4)
