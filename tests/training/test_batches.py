"""Batches from arrays, and pairs from whatever users have."""

import mxnet as mx
import numpy as np
import pytest

from gluonzip.errors import DataError
from gluonzip.training import Augment, Batches, pairs


@pytest.fixture
def data():
    images = np.arange(10, dtype=np.float32).reshape(10, 1)
    return images, np.arange(10)


def test_in_order_with_a_smaller_last_batch(data):
    batches = Batches(*data, batch_size=4)
    assert len(batches) == 3
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_shuffled_anew_each_epoch_from_the_seed(data):
    one, two = (Batches(*data, batch_size=5, shuffle=True, seed=3) for _ in range(2))
    epochs = [np.concatenate([labels for _, labels in one]) for _ in range(2)]
    assert not np.array_equal(*epochs)
    assert sorted(epochs[0]) == list(range(10))
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in two]), epochs[0])
    for images, labels in one:
        np.testing.assert_array_equal(images[:, 0], labels)


def test_augmentation_changes_images_and_not_the_source():
    images = np.random.default_rng(0).random((4, 1, 8, 8), dtype=np.float32)
    kept = images.copy()
    batches = Batches(images, np.zeros(4), augment=Augment())
    (got, _), *_ = batches
    assert np.abs(got - kept).max() > 0.1
    np.testing.assert_array_equal(images, kept)


def test_bad_data_is_told():
    with pytest.raises(DataError, match="3 images but 2 labels"):
        Batches(np.zeros((3, 1)), np.zeros(2))
    with pytest.raises(DataError, match="the data set is empty"):
        Batches(np.zeros((0, 1)), np.zeros(0))
    with pytest.raises(DataError, match="not finite"):
        Batches(np.array([[np.nan]]), np.zeros(1))


def loader(data):
    dataset = mx.gluon.data.ArrayDataset(*data)
    return mx.gluon.data.DataLoader(dataset, batch_size=5)


def iterator(data):
    return mx.io.NDArrayIter(*data, batch_size=5)


def arrays(data):
    return [(data[0][:5], data[1][:5]), (mx.nd.array(data[0][5:]), mx.nd.array(data[1][5:]))]


@pytest.mark.parametrize("source", [loader, iterator, arrays, lambda d: Batches(*d, batch_size=5)])
def test_pairs_of_any_source_any_number_of_times(source, data):
    given = source(data)
    for _ in range(2):
        got = list(pairs(given))
        assert all(isinstance(a, mx.nd.NDArray) for pair in got for a in pair)
        np.testing.assert_array_equal(np.concatenate([x.asnumpy() for x, _ in got]), data[0])
        np.testing.assert_array_equal(np.concatenate([y.asnumpy() for _, y in got]), data[1])


def test_no_batches_and_no_pairs_are_told():
    with pytest.raises(DataError, match="yielded no batch"):
        list(pairs([]))
    with pytest.raises(DataError, match=r"must be a pair \(inputs, labels\), or .*, got ndarray"):
        list(pairs([np.zeros(3)]))


def test_rows_and_shards():
    images, labels = np.arange(7.0).reshape(7, 1), np.arange(7)
    seen = []
    for rank in range(2):
        batches = Batches(images, labels, 2, shuffle=True, seed=3, rows=True, shard=(rank, 2))
        assert len(batches) == 2
        for x, y, rows in batches:
            assert (x[:, 0] == rows).all()
            assert (y == rows).all()
            seen += rows.tolist()
    assert len(set(seen)) == 6
    with pytest.raises(DataError, match=r"shard \(2, 2\) of 7 images"):
        Batches(images, labels, shard=(2, 2))


def test_an_epoch_can_be_had_again():
    batches = Batches(np.arange(8.0).reshape(8, 1), np.arange(8), 8, shuffle=True)
    first, second = (next(iter(batches))[1].tolist() for _ in range(2))
    assert first != second
    batches.epoch = 1
    assert next(iter(batches))[1].tolist() == second
