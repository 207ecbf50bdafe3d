"""inspect, bench and run on a small archive."""

import json

import numpy as np
import pytest


def test_inspect_counts_every_byte(cli, dense_archive):
    path, *_ = dense_archive
    done = cli("inspect", path)
    assert done.exit_code == 0
    assert f"{path.stat().st_size:,}" in done.stdout
    assert "y = dense(data, fc.weight, fc.bias)" in done.stdout
    parts = json.loads(cli("inspect", path, "--json").stdout)
    sections = sum(section["bytes"] for section in parts["sections"])
    assert parts["total"] == path.stat().st_size
    assert parts["total"] == parts["header"] + parts["index"] + parts["meta"] + sections
    assert parts["meta"] > 0


def test_run_answers_as_numpy(cli, dense_archive, tmp_path):
    path, weight, bias = dense_archive
    x = np.random.default_rng(1).standard_normal((7, 5))
    np.save(tmp_path / "x.npy", x)
    done = cli("run", path, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy")
    assert done.exit_code == 0, done.output
    assert "(7, 3) float32" in done.stdout
    want = np.maximum(x @ weight.T + bias, 0)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), want, rtol=1e-5, atol=1e-5)


def test_run_takes_and_gives_npz(cli, dense_archive, tmp_path):
    path, *_ = dense_archive
    np.savez(tmp_path / "x.npz", data=np.ones((2, 5), np.float32), other=np.zeros(1))
    done = cli("run", path, "-i", tmp_path / "x.npz", "-o", tmp_path / "y.npz")
    assert done.exit_code == 0, done.output
    assert np.load(tmp_path / "y.npz")["y"].shape == (2, 3)


def test_bench_tells_batches_threads_and_layers(cli, dense_archive):
    path, *_ = dense_archive
    done = cli("bench", path, "--batch", 1, "--batch", 3, "--threads", 1, "--isa", "reference")
    assert done.exit_code == 0, done.output
    for word in ("tiny: latency", "reference", "samples a second", "Where the time goes", "fc"):
        assert word in done.stdout
    facts = json.loads(cli("bench", path, "--batch", 2, "--json").stdout)
    assert facts["timings"][0]["batch"] == 2
    assert facts["timings"][0]["milliseconds"] > 0
    assert "fc" in {row["name"] for row in facts["profile"]}
    assert facts["machine"]["cores"] >= 1


def test_bench_measures_throughput_and_draws_the_roofline(
    cli, dense_archive, tmp_path, monkeypatch
):
    monkeypatch.setenv("GLUONZIP_CACHE", str(tmp_path / "cache"))
    picture = tmp_path / "roofline.png"
    done = cli("bench", dense_archive[0], "--batch", 1, "--threads", 2, "--streams", 1,
               "--streams", 2, "--tune", "--plot", picture)  # fmt: skip
    assert done.exit_code == 0, done.output
    for word in ("tiny: throughput", "streams", "of the limit", "GB read a second"):
        assert word in done.stdout
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    done = cli("bench", dense_archive[0], "--threads", 1, "--streams", 2)
    assert done.exit_code == 1
    assert "streams = 2 must be" in done.output


def bad_pickle(folder):
    path = folder / "x.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    return path


def not_an_array(folder):
    path = folder / "x.npy"
    path.write_text("hello")
    return path


def integers(folder):
    path = folder / "x.npy"
    np.save(path, np.zeros((2, 5), np.int64))
    return path


def other_names(folder):
    path = folder / "x.npz"
    np.savez(path, images=np.zeros((2, 5)))
    return path


def wrong_shape(folder):
    path = folder / "x.npy"
    np.save(path, np.zeros((2, 4), np.float32))
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.npy", "cannot be read: No such file or directory"),
        (bad_pickle, "cannot be read: it is not an array file of NumPy"),
        (not_an_array, "cannot be read: it is not an array file of NumPy"),
        (integers, "holds int64 values; the network takes float32"),
        (other_names, "has no array named data; it has images"),
        (wrong_shape, "data"),
    ],
)
def test_wrong_inputs_are_one_line_and_exit_code_1(cli, dense_archive, tmp_path, make, message):
    done = cli("run", dense_archive[0], "-i", make(tmp_path), "-o", tmp_path / "y.npy")
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert "bug" not in done.stderr


def test_an_output_that_cannot_be_written(cli, dense_archive, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 5), np.float32))
    target = tmp_path / "x.npy" / "y.npy"
    done = cli("run", dense_archive[0], "-i", tmp_path / "x.npy", "-o", target)
    assert done.exit_code == 1
    assert "cannot be written: Not a directory" in done.stderr


@pytest.mark.parametrize("command", ["inspect", "bench"])
def test_a_file_that_is_no_archive(cli, tmp_path, command):
    path = tmp_path / "x.glz"
    path.write_bytes(b"hello" * 20)
    done = cli(command, path)
    assert done.exit_code == 1
    assert str(path) in done.stderr
    assert "not a gluonzip archive" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_forced_isa_that_does_not_exist(cli, dense_archive):
    done = cli("bench", dense_archive[0], "--isa", "avx9")
    assert done.exit_code == 1
    assert "avx9" in done.stderr
