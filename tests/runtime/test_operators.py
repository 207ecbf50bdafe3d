"""The raw operators: against NumPy, and what they say about bad operands."""

import numpy as np
import pytest

from gluonzip import runtime
from gluonzip.errors import ConfigError, DataError, ShapeError, UnsupportedError

S8, F32 = np.int8, np.float32


def zeros(shape, dtype=S8):
    return np.zeros(shape, dtype)


def conv2d(x, w, stride=(1, 1), pad=(0, 0, 0, 0), dilation=(1, 1), groups=1):
    x = np.pad(x, [(0, 0), (0, 0), (pad[0], pad[2]), (pad[1], pad[3])])
    o, c, kh, kw = w.shape
    oh = (x.shape[2] - (kh - 1) * dilation[0] - 1) // stride[0] + 1
    ow = (x.shape[3] - (kw - 1) * dilation[1] - 1) // stride[1] + 1
    out = np.zeros((len(x), o, oh, ow), x.dtype)
    for i in range(o):
        first = i // (o // groups) * c
        for y in range(kh):
            for z in range(kw):
                rows, columns = y * dilation[0], z * dilation[1]
                taps = x[:, first : first + c, rows :: stride[0], columns :: stride[1]]
                out[:, i] += np.einsum("nchw,c->nhw", taps[:, :, :oh, :ow], w[i, :, y, z])
    return out


def test_gemm():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-128, 128, (9, 70)), rng.integers(-127, 128, (33, 70))
    got = runtime.gemm_s8(a.astype(S8), b.astype(S8))
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, a @ b.T)
    got = runtime.gemm_f32(a.astype(F32), b.astype(F32))
    assert got.dtype == F32
    np.testing.assert_allclose(got, a @ b.T, rtol=1e-5, atol=1)


@pytest.mark.parametrize(("m", "n", "k"), [(0, 3, 4), (3, 0, 4), (3, 4, 0)])
def test_gemm_of_nothing(m, n, k):
    np.testing.assert_array_equal(runtime.gemm_s8(zeros((m, k)), zeros((n, k))), zeros((m, n)))


def test_gemm_takes_views():
    a = np.arange(24, dtype=S8).reshape(4, 6)
    np.testing.assert_array_equal(
        runtime.gemm_s8(a.T, a.T[::-1]), a.T.astype(int) @ a[:, ::-1].astype(int)
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": (2, 1), "pad": (1, 0, 2, 3)},
        {"dilation": (1, 2), "pad": (2, 2, 2, 2)},
        {"groups": 2},
        {"groups": 8, "stride": (2, 2), "pad": (1, 1, 1, 1)},
    ],
)
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_conv2d(options, batch):
    rng = np.random.default_rng(1)
    x = rng.integers(-128, 128, (batch, 8, 9, 7))
    w = rng.integers(-127, 128, (16, 8 // options.get("groups", 1), 3, 2))
    want = conv2d(x, w, **options)
    np.testing.assert_array_equal(runtime.conv2d_s8(x.astype(S8), w.astype(S8), **options), want)
    got = runtime.conv2d_f32(x.astype(F32), w.astype(F32), **options)
    np.testing.assert_array_equal(got, want)  # sums below 2**24 are exact in float32


def test_depthwise_conv2d():
    rng = np.random.default_rng(2)
    x, w = rng.integers(-128, 128, (2, 70, 9, 7)), rng.integers(-127, 128, (70, 1, 3, 3))
    want = conv2d(x, w, pad=(1, 1, 1, 1), groups=70)
    got = runtime.conv2d_s8(x.astype(S8), w.astype(S8), pad=1, groups=70)
    np.testing.assert_array_equal(got, want)
    got = runtime.conv2d_f32(x.astype(F32), w.astype(F32), pad=1, groups=70)
    np.testing.assert_array_equal(got, want)


def test_short_forms_of_pad_and_stride():
    x, w = np.ones((1, 1, 6, 6), S8), np.ones((1, 1, 3, 3), S8)
    for pad, full in [(1, (1, 1, 1, 1)), ((1, 2), (1, 2, 1, 2))]:
        np.testing.assert_array_equal(
            runtime.conv2d_s8(x, w, pad=pad, stride=2),
            runtime.conv2d_s8(x, w, pad=full, stride=(2, 2)),
        )


def test_wrong_operands_of_gemm():
    with pytest.raises(
        ShapeError, match=r"gemm_s8: a is float32 \(2, 3\), must be int8 with 2 axes"
    ):
        runtime.gemm_s8(zeros((2, 3), F32), zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"gemm_f32: b is float32 \(3,\), must be float32 with 2"):
        runtime.gemm_f32(zeros((2, 3), F32), zeros(3, F32))
    with pytest.raises(ShapeError, match=r"gemm_s8: a is \(2, 3\) and b \(2, 4\); the last axes"):
        runtime.gemm_s8(zeros((2, 3)), zeros((2, 4)))
    with pytest.raises(ConfigError, match=r"threads is -2, must be 0 \(all cores\) to 1024"):
        runtime.gemm_s8(zeros((2, 3)), zeros((2, 3)), threads=-2)


def test_weights_of_minus_128_are_refused():
    w = zeros((2, 3, 1, 1))
    w[1, 1] = -128
    wanted = r"element 4 \(row-major\) of the weights is -128; int8 weights are symmetric"
    with pytest.raises(DataError, match=f"gemm_s8: {wanted}"):
        runtime.gemm_s8(zeros((1, 3)), w[:, :, 0, 0])
    with pytest.raises(DataError, match=f"conv2d_s8: {wanted}"):
        runtime.conv2d_s8(zeros((1, 3, 4, 4)), w)


def test_a_sum_that_may_not_fit_int32_is_refused():
    wanted = "a sum of 132105 int8 products may not fit int32; at most 132104 do"
    with pytest.raises(UnsupportedError, match=wanted):
        runtime.gemm_s8(zeros((1, 132_105)), zeros((1, 132_105)))
    full = np.full((1, 132_104), -128, S8), np.full((1, 132_104), 127, S8)
    assert runtime.gemm_s8(*full)[0, 0] == -128 * 127 * 132_104


@pytest.mark.parametrize(
    ("x", "w", "options", "error", "message"),
    [
        ((1, 4, 5, 5), (2, 3, 3, 3), {}, ShapeError, "x has 4 channels and w is (2, 3, ...)"),
        ((1, 4, 5, 5), (3, 2, 3, 3), {"groups": 2}, ShapeError, "groups must divide w.shape[0]"),
        (
            (1, 4, 5, 2),
            (2, 4, 3, 3),
            {},
            ShapeError,
            "the kernel spans 3 along W, the padded input",
        ),
        ((1, 4, 5, 5), (2, 4, 0, 3), {}, ShapeError, "axis 2 of w is empty"),
        ((1, 0, 5, 5), (2, 4, 3, 3), {}, ShapeError, "axis 1 of x is empty"),
        ((1, 4, 5, 5), (2, 4, 3, 3), {"stride": 0}, ConfigError, "in [1, 1048576], not 0"),
        (
            (1, 4, 5, 5),
            (2, 4, 3, 3),
            {"pad": -1},
            ConfigError,
            "pad must be in [0, 1048576], not -1",
        ),
        (
            (1, 4, 5, 5),
            (2, 4, 3, 3),
            {"pad": (1, 2, 3)},
            ConfigError,
            "must be 1 or 2 or 4 integers",
        ),
        ((1, 4, 5, 5), (2, 4, 3, 3), {"stride": 1.5}, ConfigError, "stride is 1.5, must be 1 or 2"),
        ((1, 4, 5, 5), (2, 4, 3, 3), {"pad": 2**20}, UnsupportedError, "more than 2^31 elements"),
    ],
)
def test_bad_convolutions(x, w, options, error, message):
    with pytest.raises(error) as raised:
        runtime.conv2d_s8(zeros(x), zeros(w), **options)
    assert message in str(raised.value)


def test_wrong_operands_of_spmm():
    s = runtime.SparseMatrix.from_dense(zeros((2, 3), F32))
    with pytest.raises(ShapeError, match="first argument is ndarray, must be a SparseMatrix"):
        runtime.spmm(zeros((2, 3), F32), zeros((3, 1), F32))
    with pytest.raises(
        ShapeError, match=r"the sparse matrix is \(2, 3\) and x \(4, 1\); x must have 3"
    ):
        runtime.spmm(s, zeros((4, 1), F32))
    with pytest.raises(ShapeError, match="spmm_s8: the sparse matrix is float32, must be int8"):
        runtime.spmm_s8(s, zeros((3, 1)))
