"""What Galindo-Meza (ITESO, 2021) published, and which runs repeat it.

Chapter and table of that thesis are named beside each. A row that names no run, such as
another author's system, is there to be compared with. Figures are as printed; where a
printed one contradicts another, a note says so.
"""

from typing import Any

from aemjax.report.published_table import (
    ClassWeights,
    Column,
    PublishedTable,
    Row,
)

MODELS = {"aemnet": "AemNet", "aemnet_dw": "AemNet-DW", "aemresnet": "AemResNet"}
DATASETS = {"dcase2013": "DCASE2013", "esc50": "ESC-50"}


ACCURACY = Column("accuracy (%)", "accuracy", "percent")
DRAWS = {"data.protocol": "draws", "data.folds": 5, "data.grouped": False}


def _model(name: str, frontend: str, width: int | float) -> dict[str, Any]:
    return {"model.name": name, "model.frontend": frontend, "model.width": width}


def _table3_row(dataset: str, model: str, pretrained: bool, value: int | float) -> Row:
    start = "pretrained" if pretrained else "scratch"
    wants = {
        "kind": "fine-tuning",
        "dataset": dataset,
        "pretrained": pretrained,
        **_model(model, "llf1", 1.0 if model == "aemresnet" else 2.0),
        **DRAWS,
    }
    return Row((DATASETS[dataset], MODELS[model], start), (value,), wants)


TABLE3 = PublishedTable(
    "Table 3: transfer learning",
    ("data", "model", "start"),
    (ACCURACY,),
    tuple(
        _table3_row(dataset, model, pretrained, value)
        for dataset, model, *values in (
            ("dcase2013", "aemnet", 66.67, 75.33),
            ("dcase2013", "aemnet_dw", 60.67, 87.00),
            ("dcase2013", "aemresnet", 68.67, 87.33),
            ("esc50", "aemnet", 77.50, 83.10),
            ("esc50", "aemnet_dw", 72.45, 92.90),
            ("esc50", "aemresnet", 78.65, 94.05),
        )
        for pretrained, value in zip((False, True), values, strict=True)
    ),
    "Mean over five random divisions of 80 % and 20 %, clips of one recording on both "
    "sides. Models with llf1; both VGG ones of width 2.0.",
)


def _table4_row(model: str, width: int | float, value: int) -> Row:
    wants = {"kind": "fine-tuning", "dataset": "esc50", **_model(model, "llf1", width)}
    return Row((MODELS[model],), (value,), wants)


TABLE4 = PublishedTable(
    "Table 4: trainable parameters, 50 classes",
    ("model",),
    (Column("parameters", "parameters", "count"),),
    (
        _table4_row("aemnet", 2.0, 14_158_514),
        _table4_row("aemnet_dw", 2.0, 2_722_429),
        _table4_row("aemresnet", 1.0, 11_499_442),
    ),
    "Ours are counted in the checkpoint of the run's first fold.",
)


def _table5_row(dataset: str, model: str, frontend: str, *values: int | float) -> Row:
    wants = {
        "kind": "fine-tuning",
        "dataset": dataset,
        "pretrained": False,
        **_model(model, frontend, 1.0),
        **(
            {"data.protocol": "official"}
            if dataset == "esc50"
            else {"data.protocol": "kfold", "data.folds": 5}
        ),
    }
    return Row((DATASETS[dataset], MODELS[model], frontend), values, wants)


TABLE5 = PublishedTable(
    "Table 5: which front end, from scratch, width 1.0",
    ("data", "model", "front end"),
    (ACCURACY, Column("F1 (%)", "F1", "percent"), Column("minutes", "", "minutes")),
    tuple(
        _table5_row(*row)
        for row in (
            ("dcase2013", "aemnet", "llf1", 67.00, 66.07, 30),
            ("dcase2013", "aemnet", "llf2", 67.00, 65.67, 31),
            ("dcase2013", "aemnet_dw", "llf1", 55.00, 53.29, 33),
            ("dcase2013", "aemnet_dw", "llf2", 58.33, 56.15, 33),
            ("esc50", "aemnet", "llf1", 76.00, 75.31, 87),
            ("esc50", "aemnet", "llf2", 79.70, 79.13, 105),
            ("esc50", "aemnet_dw", "llf1", 70.10, 68.73, 125),
            ("esc50", "aemnet_dw", "llf2", 71.05, 69.71, 143),
        )
    ),
    "Mean over five folds. The minutes are of the author's machine.",
)

TABLE6 = PublishedTable(
    "Table 6: DCASE 2021 task 1A",
    ("system",),
    (
        ACCURACY,
        Column("non-zero parameters", "nonzero", "count"),
        Column("KB", "float32_kb", "KB"),
    ),
    (
        Row(("the challenge's baseline",), (46.40, None, 90.00)),
        Row(
            ("AemNet-DW 0.5, llf2",),
            (61.49, 319_093, 1246.45),
            {
                "kind": "fine-tuning",
                "dataset": "tau2020",
                "pretrained": True,
                "data.protocol": "official",
                **_model("aemnet_dw", "llf2", 0.5),
            },
        ),
        Row(("lottery ticket, 60 % pruned",), (58.73, 127_637, 498.58)),
        Row(("the same, INT8",), (56.50, 127_637, 124.64)),
    ),
    "KB are the non-zero trainable values times their bytes / 1024, digits cut off.",
)

ICBHI = {
    "kind": "fine-tuning",
    "dataset": "icbhi2017",
    **_model("aemresnet", "llf1", 1.0),
}
ICBHI_DIVISIONS = {"official 60/40": {"data.protocol": "official"}, "5 draws": DRAWS}
RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, None)
# Se, Sp, Score by share of the learning rate, 10 % to 100 %, then without transfer.
TABLE8_VALUES = {
    "official 60/40": (
        (0.289, 0.799, 0.544),
        (0.311, 0.767, 0.539),
        (0.298, 0.786, 0.542),
        (0.289, 0.804, 0.547),
        (0.396, 0.706, 0.551),
        (0.251, 0.870, 0.561),
        (0.382, 0.710, 0.546),
        (0.342, 0.768, 0.555),
        (0.284, 0.790, 0.537),
        (0.387, 0.729, 0.558),
        (0.304, 0.765, 0.535),
    ),
    "5 draws": (
        (0.678, 0.865, 0.772),
        (0.644, 0.874, 0.759),
        (0.645, 0.868, 0.757),
        (0.641, 0.845, 0.743),
        (0.647, 0.850, 0.749),
        (0.622, 0.859, 0.740),
        (0.606, 0.863, 0.735),
        (0.603, 0.865, 0.734),
        (0.596, 0.865, 0.731),
        (0.594, 0.855, 0.725),
        (0.540, 0.828, 0.684),
    ),
}
LUNG_COLUMNS = (Column("Se", "Se"), Column("Sp", "Sp"), Column("Score", "AS"))


def _table8_row(division: str, rate: int | float | None, values: tuple) -> Row:
    label = "no transfer" if rate is None else f"{round(100 * rate)} %"
    start = (
        {"pretrained": False}
        if rate is None
        else {"pretrained": True, "optimizer.lr_fraction": rate}
    )
    wants = {**ICBHI, **ICBHI_DIVISIONS[division], **start}
    return Row((division, label), values, wants)


TABLE8 = PublishedTable(
    "Table 8: ICBHI 2017 by the embedder's share of the learning rate",
    ("division", "LR share"),
    LUNG_COLUMNS,
    tuple(
        _table8_row(division, rate, values)
        for division, rows in TABLE8_VALUES.items()
        for rate, values in zip(RATES, rows, strict=True)
    ),
    "Score = (Se + Sp) / 2. The five draws disregard patients: the same ones are on "
    "both sides.",
)

TABLE9 = PublishedTable(
    "Table 9: other systems on ICBHI 2017",
    ("division", "system"),
    LUNG_COLUMNS,
    (
        Row(("official 60/40", "VGG16"), (0.280, 0.810, 0.540)),
        Row(("official 60/40", "C-DNN"), (0.260, 0.680, 0.470)),
        Row(
            ("official 60/40", "AemResNet, ours"),
            (None, None, None),
            {**ICBHI, **ICBHI_DIVISIONS["official 60/40"]},
        ),
        Row(("custom", "BLSTMDAE"), (0.720, 0.920, 0.760)),
        Row(("custom", "C-DNN"), (0.680, 0.900, 0.790)),
        Row(("custom", "SE-8Cycle"), (0.694, 0.873, 0.784)),
        Row(("custom", "Ensemble"), (0.730, 0.860, 0.800)),
        Row(
            ("5 draws", "AemResNet, ours"),
            (None, None, None),
            {**ICBHI, **ICBHI_DIVISIONS["5 draws"]},
        ),
    ),
    "Each custom division is its authors' own. Scores are as printed; not all of them are "
    "the mean of Se and Sp.",
)


def _table12_row(task: int, *values: int | float) -> Row:
    wants = {
        "kind": "fine-tuning",
        "dataset": f"covid19sounds_task{task}",
        "pretrained": True,
        **_model("aemresnet", "llf2", 1.0),
        **(DRAWS | {"data.grouped": True}),
    }
    return Row((str(task), "AemResNet"), values, wants)


TABLE12 = PublishedTable(
    "Table 12: COVID-19 Sounds",
    ("task", "system"),
    (Column("P", "precision"), Column("R", "recall"), Column("F1", "F1")),
    (
        _table12_row(1, 0.6975, 0.7235, 0.7332),
        Row(("1", "SVM, 10 folds"), (0.7200, 0.6900, 0.7047)),
        Row(("1", "Ensemble, 3 folds"), (None, 0.7020, None)),
        Row(("1", "1D CNN"), (None, None, 0.9078)),
        Row(("1", "CI-ResNet, 10 folds"), (None, 0.7700, None)),
        _table12_row(2, 0.8697, 0.8850, 0.8773),
        Row(("2", "SVM, 10 folds"), (0.8000, 0.7200, 0.7579)),
        Row(("2", "1D CNN"), (None, None, 0.8926)),
        Row(("2", "CI-ResNet, 10 folds"), (None, 0.5350, None)),
        _table12_row(3, 0.9040, 0.8300, 0.8654),
        Row(("3", "SVM, 10 folds"), (0.6900, 0.6900, 0.6900)),
        Row(("3", "1D CNN"), (None, None, 0.8913)),
        Row(("3", "CI-ResNet, 10 folds"), (None, 0.7740, None)),
    ),
    "Over five draws with no user on both sides. Task 1's printed F1 cannot be: no F1 is "
    "above the mean of its precision and recall. None of it is a medical device.",
)

PRETRAINING = PublishedTable(
    "Chapter 4.5: pretraining on AudioSet",
    ("model", "training"),
    (Column("mAP", "mAP"),),
    (
        Row(
            ("AemResNet", "from scratch, 80 epochs"),
            (0.3690,),
            {
                "kind": "pretraining",
                "dataset": "audioset",
                "distilled": False,
                "data.train": "unbalanced_train",
                "data.eval": "eval",
                **_model("aemresnet", "llf1", 1.0),
            },
        ),
        Row(
            ("AemNet-DW 2.0", "distilled from AemResNet, 60 epochs"),
            (0.3486,),
            {
                "kind": "pretraining",
                "dataset": "audioset",
                "distilled": True,
                "data.train": "unbalanced_train",
                "data.eval": "eval",
                **_model("aemnet_dw", "llf1", 2.0),
            },
        ),
    ),
    "On the 527 classes of the evaluation set.",
)

TABLES = (PRETRAINING, TABLE3, TABLE4, TABLE5, TABLE6, TABLE8, TABLE9, TABLE12)


CLASS_WEIGHTS = (
    ClassWeights(
        "7",
        "icbhi2017",
        {"normal": 0.4272, "crackles": 0.7636, "wheezes": 0.8609, "both": 0.9483},
    ),
    ClassWeights("10", "covid19sounds_task1", {"covid": 0.68, "healthy": 0.32}),
    ClassWeights("10", "covid19sounds_task2", {"covid": 0.37, "healthy": 0.63}),
    ClassWeights("10", "covid19sounds_task3", {"covid": 0.27, "asthma": 0.73}),
)
