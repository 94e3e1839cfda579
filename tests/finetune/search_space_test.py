import optuna
import pytest

from configs.finetune import icbhi, own_set
from finetune.search_space import grid, parse, with_values


@pytest.fixture
def config():
    return icbhi.get_config("official").lock()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (
            "optimizer.lr_fraction=0.1:1.0:0.1",
            (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        ),
        ("model.dropout=0.1:0.9:0.2", (0.1, 0.3, 0.5, 0.7, 0.9)),
        ("optimizer.learning_rate=1e-4:3e-4:1e-4", (1e-4, 2e-4, 3e-4)),
        ("optimizer.lr_fraction=0:1:1", (0.0, 1.0)),
        ("train.batch_size=16:64:16", (16, 32, 48, 64)),
        ("loss.gamma=0,0.5,2", (0.0, 0.5, 2.0)),
        ("data.grouped=true,False", (True, False)),
        ("model.head=acnet,aclnetx", ("acnet", "aclnetx")),  # None as it comes
        ("model.name=aemnet,own.models:Net", ("aemnet", "own.models:Net")),
        ("init_from=runs/a@last", ("runs/a@last",)),
    ],
)
def test_values_are_those_of_the_field_and_exact(config, text, values):
    found = parse(config, text).values
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.droput=0.1,0.2", "no field 'model.droput'; near it: model.dropout"),
        ("lr_fraction=0.1,1.0", "no field 'lr_fraction'; .*optimizer.lr_fraction"),
        ("optimizer=adam", "no field 'optimizer'; near it: optimizer"),
        ("seed", "--param=seed: expected FIELD=VALUES"),
        ("train.batch_size=16,24.5", "batch_size is of type int, which '24.5' is not"),
        ("train.batch_size=16:32:0.5", "of type int, which '0.5' is not"),
        ("model.dropout=low", "of type float, which 'low' is not"),
        ("model.dropout=0.1,nan", "of type float, which 'nan' is not"),
        ("data.grouped=yes", "of type bool, which 'yes' is not"),
        ("loss.alpha=0.1,0.2", r"loss.alpha is \(0.4272, .*; a sweep varies numbers"),
        ("model.dropout=0.1:1.0:0.4", "steps of 0.4 from 0.1 miss 1.0; end at 0.9 or"),
        ("model.dropout=0.1:0.2:0", "STEP is 0, expected more than 0"),
        ("model.dropout=0.9:0.1", "LOW below HIGH"),
        ("model.dropout=0.1:0.9:0.1:log", "expected LOW:HIGH:STEP"),
        ("model.dropout=0:0.9:log", "needs LOW above 0"),
        ("model.dropout=0.1,0.10", "a value is named twice"),
    ],
)
def test_what_a_field_cannot_take_is_refused(config, text, message):
    with pytest.raises(ValueError, match=message):
        parse(config, text)


def drawn(parameter, sampler, count=60):
    study = optuna.create_study(sampler=sampler)
    return [parameter.suggest(study.ask()) for _ in range(count)]


def test_what_is_drawn_lies_in_the_range(config):
    sampler = optuna.samplers.RandomSampler(seed=1)
    steps = parse(config, "optimizer.lr_fraction=0.1:1.0:0.1")
    assert set(drawn(steps, sampler)) == set(steps.values)
    whole = drawn(parse(config, "train.batch_size=2:5"), sampler)
    assert set(whole) == {2, 3, 4, 5}
    assert all(type(value) is int for value in whole)
    flat = drawn(parse(config, "optimizer.learning_rate=1e-6:1.0"), sampler)
    log = drawn(parse(config, "optimizer.learning_rate=1e-6:1.0:log"), sampler)
    for values in (flat, log):
        assert all(1e-6 <= value <= 1.0 for value in values)
    # A uniform draw is below 1e-3 once in a thousand; its logarithm every second time.
    assert sum(value < 1e-3 for value in flat) <= 2
    assert 20 <= sum(value < 1e-3 for value in log) <= 40


def test_a_grid_is_every_combination_the_last_field_fastest(config):
    texts = ("loss.gamma=0,2", "train.batch_size=16:32:16")
    points = list(grid([parse(config, text) for text in texts]))
    assert points == [
        {"loss.gamma": 0.0, "train.batch_size": 16},
        {"loss.gamma": 0.0, "train.batch_size": 32},
        {"loss.gamma": 2.0, "train.batch_size": 16},
        {"loss.gamma": 2.0, "train.batch_size": 32},
    ]


def test_a_range_makes_no_grid(config):
    with pytest.raises(ValueError, match="=0.1:0.9 has no steps"):
        parse(config, "model.dropout=0.1:0.9").check_steps()


def test_values_go_into_a_copy_and_what_refers_to_them_follows():
    config = own_set.get_config()
    config.data.also_seed = config.get_ref("seed")
    config.lock()
    changed = with_values(config, {"seed": 5, "model.head": "acnet"})
    assert (changed.seed, changed.data.also_seed, changed.model.head) == (5, 5, "acnet")
    assert (config.seed, config.model.head) == (0, None)
