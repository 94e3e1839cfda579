import errno

import jax
import pytest

from aemjax.train.checkpoint_errors import reading, whole_steps, writing


@pytest.fixture
def folder(tmp_path):
    for name in ("0", "10", "9", "11.orbax-checkpoint-tmp", "notes"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    return str(tmp_path / "checkpoints")


def read(folder, error, *, step=10, training=True, cause=None):
    with reading(folder, step, "weights", training=training):
        raise error from cause


def test_steps_are_whole_and_in_order(folder):
    assert whole_steps(folder) == [0, 9, 10]


@pytest.mark.parametrize(
    "error", [Exception("bad"), KeyError("bad"), ValueError("bad"), OSError(2, "bad")]
)
def test_whatever_orbax_raises_is_damage(folder, error):
    with pytest.raises(ValueError, match=r"10 is damaged \(weights: .*bad'?\); remove"):
        read(folder, error)


def test_the_reason_is_one_line_of_the_cause(folder):
    cause = ValueError('DATA_LOSS: cut off [tensorstore_spec[1]="{...}"]')
    expected = f"{folder}/10 is damaged (weights: DATA_LOSS: cut off); "
    with pytest.raises(ValueError) as caught:
        read(folder, Exception("index 1\nof TensorStore({\n"), cause=cause)
    assert str(caught.value).startswith(expected)
    with pytest.raises(ValueError, match=r"\(weights: AttributeError\)"):
        read(folder, AttributeError())


def test_the_way_out_fits_what_there_is(tmp_path, folder):
    with pytest.raises(
        ValueError, match="; remove that step's folder to go on from step 9$"
    ):
        read(folder, Exception())
    with pytest.raises(
        ValueError, match=f"; take another step, such as {tmp_path}@10$"
    ):
        read(folder, Exception(), step=0, training=False)
    with pytest.raises(ValueError, match=r" holds no step 7; it holds \[0, 9, 10\]$"):
        read(folder, Exception(), step=7)
    only = tmp_path / "only"
    (only / "0").mkdir(parents=True)
    with pytest.raises(ValueError, match="; remove that step's folder to begin anew$"):
        read(str(only), Exception(), step=0)
    with pytest.raises(ValueError, match="; its run holds no other step$"):
        read(str(only), Exception(), step=0, training=False)


@pytest.mark.parametrize(
    "error",
    [
        jax.errors.JaxRuntimeError("Connection closed by peer"),
        MemoryError("4 GiB"),
        ValueError("Requested shape: (3,) is not compatible with\nthe stored shape"),
        KeyboardInterrupt(),
    ],
)
def test_what_is_no_damage_stays_what_it_is(folder, error):
    with pytest.raises(type(error)) as caught:
        read(folder, error)
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        ValueError("PERMISSION_DENIED: Permission denied [source locations='x']"),
    ],
)
def test_nothing_is_to_be_removed_for_a_locked_door(folder, error):
    with pytest.raises(OSError) as caught:
        read(folder, error)
    told = str(caught.value)
    assert told.startswith(f"cannot read {folder}/10/weights: ")
    assert told.endswith(
        "Permission denied; mend that, then start the same command again"
    )


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "free space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "free space"),
        (ValueError("RESOURCE_EXHAUSTED: No space left on device\n1"), "free space"),
        (OSError(errno.EFBIG, "File too large"), "mend that"),
        (PermissionError(errno.EACCES, "Permission denied"), "mend that"),
        (ValueError("UNAVAILABLE: no network"), "mend that"),
    ],
)
def test_space_is_asked_for_where_it_lacks(error, remedy):
    with pytest.raises(OSError) as caught:
        with writing("run/checkpoints"):
            raise error
    reason = str(error).partition("\n")[0]
    assert str(caught.value) == (
        f"cannot write a checkpoint to run/checkpoints: {reason}; {remedy}, then start "
        "the same command again"
    )
