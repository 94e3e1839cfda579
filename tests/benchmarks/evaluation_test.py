import pytest

from benchmarks import evaluation

SIZES = evaluation.Sizes(
    clips=30,
    clip_s=0.3,
    every=6,
    batches=(8,),
    networks=(("tiny", {"name": "tests.tiny:Backbone"}),),
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(evaluation, "SMOKE", SIZES)


def test_every_loop_is_compared(capsys):
    rows = evaluation.run(repeats=2, smoke=True)
    assert [(row["batch"], row["loop"]) for row in rows] == [
        (size, name) for size in (8,) for name in evaluation.LOOPS
    ]
    assert rows[0]["lengths"] > rows[1]["lengths"] > 1
    for row in rows:
        assert row["network"] == "tiny"
        low, high = sorted(row["each"])
        assert 0 < low <= row["ours / loop"] <= high
    assert capsys.readouterr().out.count("ours / loop = ") == 2


def test_a_loop_that_does_other_work_is_refused(monkeypatch):
    one_by_one = evaluation.one_by_one

    def wrong(*args):
        score = one_by_one(*args)
        return lambda: (score()[0], score()[1] + 0.01)

    monkeypatch.setattr(evaluation, "one_by_one", wrong)
    with pytest.raises(ValueError, match="'as long as it is' differ .* it does o"):
        evaluation.run(repeats=1, smoke=True)


def test_a_row_by_hand():
    later = [(1.0, 2.0), (2.0, 3.0), (4.0, 1.0)]
    row = evaluation.summarize([1, 2, 3, 4], [1, 3], (12.0, 10.0), later, int)
    assert row == {
        "lengths": 4,
        "clips/s": 2.0,
        "loop, clips/s": 1.0,
        "ours / loop": 3.0,
        "each": [4.0, 3.0, 0.5],
        "compiling / pass, ours": 5.0,
        "compiling / pass, loop": 4.0,
    }
