"""The union-find over channels."""

import numpy as np

from gluonzip.passes.prune.channels import STATIC, Channels


def test_union_joins_pair_by_pair_and_broadcasts():
    channels = Channels()
    a, b, c = channels.fresh(4), channels.fresh(4), channels.fresh(2)
    channels.union(a, b)
    np.testing.assert_array_equal(channels.roots(a), channels.roots(b))
    assert len(np.unique(channels.roots(a))) == 4
    channels.union(b.reshape(2, 2), c[:, None])
    np.testing.assert_array_equal(channels.roots(a[[0, 2]]), channels.roots(a[[1, 3]]))
    assert len(np.unique(channels.roots(np.concatenate([a, b, c])))) == 2


def test_unions_agree_with_a_plain_closure():
    rng = np.random.default_rng(0)
    channels = Channels()
    ids = channels.fresh(3000)  # more than the first allocation
    label = np.arange(3000)
    for _ in range(40):
        one, other = rng.integers(0, 3000, (2, 40))
        channels.union(ids[one], ids[other])
        for x, y in zip(one, other, strict=True):
            label[label == label[y]] = label[x]
    roots = channels.roots(ids)
    np.testing.assert_array_equal(
        np.unique(roots, return_inverse=True)[1][np.unique(label, return_index=True)[1]].size,
        np.unique(label).size,
    )
    for group in np.unique(label):
        assert len(np.unique(roots[label == group])) == 1
    assert len(np.unique(roots)) == len(np.unique(label))


def test_locks_spread_and_the_first_reason_stays():
    channels = Channels()
    a, b = channels.fresh(3), channels.fresh(3)
    channels.lock(b[:1], "first")
    channels.lock(b[:1], "second")
    channels.union(a, b)
    assert channels.locked(a).tolist() == [True, False, False]
    assert channels.reason(int(a[0])) == "first"
    assert channels.reason(int(a[1])) is None
    assert channels.locked(np.array([STATIC])).all()
