"""What a report says of one run."""

from collections.abc import Mapping, Sequence

import numpy as np

from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import Division, Protocol, divide, hold_out
from aemjax.models.frontends import first_kernel
from aemjax.report import embedding_map, figures, filters, published
from aemjax.report.comparison import parameter_counts
from aemjax.report.runs import EVALUATED, Run
from aemjax.report.section import Section
from aemjax.report.tables import ENTRIES, Table, metrics_table, start


def run_section(run: Run, *, maps: bool = True) -> Section:
    """Everything about one run, with a map of its clips if asked."""
    model = run.config["model"]
    counts = parameter_counts(run)
    about = [
        ("folder", str(run.path)),
        ("data", f"{run.dataset}; {run.split}"),
        (
            "model",
            f"{published.MODELS.get(model['name'], model['name'])}, front end "
            f"{model['frontend']}, width {model['width']:g}",
        ),
        ("parameters", f"{counts['parameters']:,}" if counts else "no checkpoint"),
        ("start", start(run)),
        ("started from", run.results.get("init_from") or ""),
        ("seeds", ", ".join(map(str, run.seeds))),
        (
            "selected by",
            run.metric + " of averaged weights" * run.of_averaged + _chosen_on(run),
        ),
        ("commit", ", then ".join(run.commits)),
    ]
    section = Section(
        run.name,
        about=tuple((name, text) for name, text in about if text),
        warning=_warning(run),
        tables=[metrics_table(run)],
        run=run.name,
    )
    keys = ("train/loss", "eval/" + run.config["checkpoint"]["metric"])
    panels = {key: curves for key in keys if (curves := run.curves(key))}
    if panels:
        section.figures.append(("Learning curves", figures.curves_figure(panels)))
    else:
        section.remarks.append("No learning curves: its metrics.jsonl files are gone.")
    data = _data(run)
    _add_calibration(section, run)
    _add_confusion(section, run)
    _add_shares(section, run, data)
    _add_filters(section, run)
    if maps and run.finetuning:
        _add_map(section, run, data)
    return section


def _chosen_on(run: Run) -> str:
    return f", on {run.results['selected_on']}" if "selected_on" in run.results else ""


def _warning(run: Run) -> str:
    if run.results.get("selected_on") != EVALUATED:
        return ""
    return (
        f"The best epoch was selected on {run.results['selected_on']}: no other clips "
        "were held out to choose it by, so its figures flatter. Those of the last epoch "
        "do not depend on the choice."
    )


def _data(run: Run) -> tuple[PreparedSet, Division] | str:
    """The set that a run was trained on and its first division; or why there is none."""
    config = run.config["data"]
    try:
        data = PreparedSet(config["path"])
        if data.fingerprint != run.config["data_fingerprint"]:
            return f"the prepared set in {config['path']} is another one by now"
        names = {"train": config.get("train", ""), "eval": config.get("eval", "")}
        if not run.finetuning:
            return data, divide(data, Protocol("lists", **names))[0]
        protocol = Protocol(
            config["protocol"],
            folds=config["folds"],
            seed=config["split_seed"],
            grouped=config["grouped"],
            **names,
        )
        first = run.results["runs"][0]["fold"]
        (division,) = (d for d in divide(data, protocol) if d.number == first)
        if share := config.get("validation_share", 0):
            seed, grouped = config["split_seed"], config["grouped"]
            division = hold_out(data, division, share=share, seed=seed, grouped=grouped)
        return data, division
    except (ValueError, OSError) as error:
        return str(error)


def _labels(run: Run, k: int) -> list[str]:
    return list(run.card.labels) if run.card else [str(number) for number in range(k)]


def _add_calibration(section: Section, run: Run) -> None:
    """Before and after a temperature fitted on validation clips; means over folds."""
    rows = []
    for entry, name in ENTRIES.items():
        found = [
            fold.get(entry, {}).get("calibrated")
            for fold in run.results.get("runs", ())
        ]
        if found and None not in found:
            means = {key: np.mean([fold[key] for fold in found]) for key in found[0]}
            rows.append((name, *(f"{value:.4f}" for value in means.values())))
    if rows:
        columns = ("", *(key.replace("_", " ") for key in means))
        title = "Calibrated on validation clips" + ", mean over folds" * (
            len(found) > 1
        )
        section.tables.append(Table(columns, tuple(rows), title))


def _add_confusion(section: Section, run: Run) -> None:
    found = {entry: run.confusion(entry) for entry in ENTRIES}
    found = {entry: counts for entry, counts in found.items() if counts is not None}
    summed = ", runs summed" * (len(run.folders) > 1)
    if len(found) > 1 and np.array_equal(found["best"], found["last"]):
        del found["best"]
    names = {}
    for entry, counts in found.items():
        same = entry == "last" and "best" not in found
        names[entry] = ("best epoch and " * same) + ENTRIES[entry]
        drawn = figures.confusion_figure(counts, _labels(run, len(counts)))
        section.figures.append((f"Confusion: {names[entry]}{summed}", drawn))
    if found:
        by_name = {names[entry]: counts for entry, counts in found.items()}
        labels = _labels(run, len(counts))
        section.tables.append(_per_class(by_name, labels, f"Classes{summed}"))


def _per_class(
    found: Mapping[str, np.ndarray], labels: Sequence[str], title: str
) -> Table:
    """Recall and precision of every class, from confusion matrices by name."""
    columns, rows = ["class", "clips"], [[label] for label in labels]
    for name, counts in found.items():
        columns += [f"recall, {name}", f"precision, {name}"]
        clips, guesses = counts.sum(axis=1), counts.sum(axis=0)
        for i, row in enumerate(rows):
            if len(row) == 1:
                row.append(f"{clips[i]:,}")
            for whole in (clips[i], guesses[i]):
                row.append(f"{counts[i, i] / whole:.4f}" if whole else "")
    return Table(tuple(columns), tuple(map(tuple, rows)), title)


def _add_shares(section: Section, run: Run, data) -> None:
    counts, labels, unit = {}, None, "clips"
    confusion = run.confusion("last")
    if not isinstance(data, str):
        prepared, division = data
        labels = prepared.label_names
        unit = "labels" if prepared.multi_label else "clips"
        for split in ("train", "validation", "eval"):
            rows = getattr(division, split)
            if rows is not None:
                ids = prepared.labels_of(rows)[1]
                counts[split] = np.bincount(ids, minlength=len(labels))
        caption = "Class shares" + (", first fold" if run.finetuning else "")
    elif confusion is not None:
        counts["eval"] = confusion.sum(axis=1)
        labels = _labels(run, len(confusion))
        caption = "Class shares of the clips evaluated, runs summed"
        section.remarks.append(f"No class shares of training: {data}.")
    if labels is None:
        section.remarks.append(f"No class shares: {data}.")
        return
    section.figures.append((caption, figures.shares_figure(counts, labels, unit=unit)))


def _add_filters(section: Section, run: Run) -> None:
    if isinstance(run.checkpoint, str):
        section.remarks.append(f"No filters: {run.checkpoint}.")
        return
    weights, _, step = run.checkpoint
    kernel = first_kernel(weights["params"])
    if kernel is None:
        front = run.config["model"]["frontend"]
        section.remarks.append(f"No learned filters: the front end {front} has none.")
        return
    drawn = figures.filters_figure(*filters.responses(kernel))
    taps, _, channels = kernel.shape
    where = f"{next(iter(run.folders))}, step {step:,}".removeprefix(", ")
    caption = f"Frequency responses of the {channels} filters of {taps} taps; {where}"
    section.figures.append((caption, drawn))


def _add_map(section: Section, run: Run, data) -> None:
    for reason in (data, run.checkpoint):
        if isinstance(reason, str):
            section.remarks.append(f"No map of clips: {reason}.")
            return
    prepared, division = data
    weights, card, step = run.checkpoint
    labelled = np.diff(prepared.label_offsets)[division.eval] > 0
    rows = embedding_map.drawn_clips(division.eval[labelled])
    try:
        rows, embeddings = embedding_map.embed(weights, card, prepared, rows)
        points, method = embedding_map.project(embeddings)
    except ValueError as error:
        section.remarks.append(f"No map of clips: {error}.")
        return
    first = prepared.label_ids[prepared.label_offsets[rows]]
    drawn = figures.map_figure(points, first, prepared.label_names)
    of = len(division.eval)
    clips = f"{of:,} clips" if len(rows) == of else f"{len(rows):,} of {of:,} clips"
    fold = next(iter(run.folders))
    caption = f"{method} of the embeddings of {clips} evaluated; {fold}, step {step:,}"
    section.figures.append((caption, drawn))
