"""Is a prepared set what it should be? Before it is trained on, and at any time.

`aemjax inspect DIR` prints `inspect_set`; the jobs call `check_before_training`.
"""

import collections
import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from aemjax.audio import read
from aemjax.data import duplicates, findings, splits
from aemjax.data.duplicates import EqualAudio
from aemjax.data.findings import Finding
from aemjax.data.prepared import PreparedSet
from aemjax.data.splits import Division

SHORTEST = 5  # clips named
SAMPLED = 32  # records read
DURATION_BINS = 20
MAX_CLASSES = 64  # of a table; of more, the rarest are shown
RAREST = 10
# A sine at full scale is at -3 dB; one step of int16 at -90.
LEVEL_EDGES_DB = tuple(range(-100, 5, 5))


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What was found in a prepared set.

    Attributes:
      path, dataset: the folder, the name in the catalogue.
      clips, hours: in all.
      skipped: clips left out, by reason.
      clips_per_part: {part: clips}; a part is a split, or "split:fold".
      clips_per_class: {part: {class: clips}}; one of several labels counts in each.
      published: the manifest's: {"classes", "clips", "per_class"}, as published.
      duration_s: "min", "median", "max" of the clips.
      duration_edges_s, duration_clips: histogram; one edge more than bins.
      shortest_s: {id: duration} of the shortest.
      level_edges_db, level_clips: histogram of the standard deviation in dB of full
        scale; what is beyond the edges is in the outermost bins, silence is left out.
      silent, near_silent, offset, clipped: clips of zeros; others under
        `findings.QUIET_STD`; of more offset than sound; of over
        `findings.CLIPPED_SHARE` at full scale.
      source_rates: {rate of the file in Hz: clips}.
      devices: {split: {device: clips}}; empty where the dataset names none.
      equal_audio: the same audio under several ids.
      shared_groups: {official division: groups on both its sides}.
      findings: what is wrong, or may be.
    """

    path: str
    dataset: str
    clips: int
    hours: float
    skipped: dict[str, int]
    clips_per_part: dict[str, int]
    clips_per_class: dict[str, dict[str, int]]
    published: dict
    duration_s: dict[str, float]
    duration_edges_s: tuple[float, ...]
    duration_clips: tuple[int, ...]
    shortest_s: dict[str, float]
    level_edges_db: tuple[int, ...]
    level_clips: tuple[int, ...]
    silent: int
    near_silent: int
    offset: int
    clipped: int
    source_rates: dict[int, int]
    devices: dict[str, dict[str, int]]
    equal_audio: EqualAudio
    shared_groups: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]

    @property
    def has_errors(self) -> bool:
        """Whether training on the set is meaningless."""
        return any(finding.level == "error" for finding in self.findings)

    def to_dict(self) -> dict:
        """The same as plain numbers, names and lists, for JSON."""
        return dataclasses.asdict(self)

    def table(self) -> str:
        """The same for people: Markdown, the findings last."""
        totals = next(iter(self.clips_per_class.values()))
        left_out = ", ".join(f"{count} {why}" for why, count in self.skipped.items())
        return "\n".join(
            [
                f"# {self.dataset} in {self.path}",
                "",
                f"{self.clips} clips of {len(totals)} classes, {self.hours:.2f} h; left "
                f"out: {left_out}",
                "",
                *self._class_lines(),
                "",
                *self._audio_lines(),
                "",
                *(f"{f.level}: {f.text}" for f in self.findings),
                *([] if self.findings else ["Nothing to remark."]),
            ]
        )

    def _class_lines(self) -> list[str]:
        parts = list(self.clips_per_part)
        names = list(self.clips_per_class[parts[0]])
        note = []
        if len(names) > MAX_CLASSES:
            note = ["", f"The {RAREST} rarest of {len(names)} classes; --json has all."]
            every = [sum(self.clips_per_class[p][n] for p in parts) for n in names]
            names = [names[i] for i in np.argsort(every, kind="stable")[:RAREST]]

        def cell(part: str, count: int, published: dict) -> str:
            return f"{count} of {published[part]}" if part in published else str(count)

        clips, per_class = self.published["clips"], self.published["per_class"]
        lines = [
            _row("class", *parts),
            "|---" * (len(parts) + 1) + "|",
            _row("all", *(cell(p, self.clips_per_part[p], clips) for p in parts)),
        ]
        for name in names:
            want = {part: of[name] for part, of in per_class.items() if name in of}
            found = {part: self.clips_per_class[part][name] for part in parts}
            lines.append(_row(name, *(cell(p, found[p], want) for p in parts)))
        return lines + note

    def _audio_lines(self) -> list[str]:
        low, middle, high = (self.duration_s[key] for key in ("min", "median", "max"))
        shortest = [f"{name} {s:.2f} s" for name, s in self.shortest_s.items()]
        rates = [f"{rate} Hz: {clips}" for rate, clips in self.source_rates.items()]
        same = self.equal_audio
        lines = [
            _row("clips", ""),
            "|---|---|",
            _row("durations", f"{low:.2f} to {high:.2f} s, median {middle:.2f} s"),
            _row("shortest", ", ".join(shortest)),
            _row("by rate of the file", ", ".join(rates)),
            _row("silent", self.silent),
            _row("nearly silent", self.near_silent),
            _row("more offset than sound", self.offset),
            _row(
                f"over {findings.CLIPPED_SHARE:.1%} of samples at full scale",
                self.clipped,
            ),
            _row(
                "the same audio as another",
                f"{same.clips} ({same.recordings} recordings; {same.across_splits} across "
                f"splits, {same.across_folds} across folds, {same.other_labels} with "
                "other labels)",
            ),
        ]
        for split, clips in self.devices.items():
            cell = ", ".join(f"{device}: {count}" for device, count in clips.items())
            lines.append(_row(f"devices of {split}", cell))
        return lines


def _row(*cells: object) -> str:
    # Class names and ids may hold what ends a cell.
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def inspect_set(data: PreparedSet) -> Inspection:
    """Looks a whole set over; reads `SAMPLED` records, else the index only."""
    rows = np.arange(len(data))
    published = data.manifest["published"]
    known = sorted({*data.manifest["splits"], *published["clips"]})
    parts = {part: _rows_of(data, part) for part in _parts(data, known)}
    per_class = {part: findings.class_counts(data, of) for part, of in parts.items()}
    equal_audio = duplicates.equal_audio(data)
    divisions, found = _official(data)
    for where, division in divisions.items():
        about = findings.about_division(data, division.train, division.eval)
        found += _prefixed(f"{where}: ", about)
    if not divisions:
        found += _about_classes(per_class)
    seconds = data.n_samples / read.SAMPLE_RATE
    duration_clips, duration_edges = np.histogram(seconds, DURATION_BINS)
    shortest = np.argsort(seconds, kind="stable")[:SHORTEST]
    rates, rate_clips = np.unique(data.source_rate, return_counts=True)
    sounding = data.std[data.std > 0]
    level_clips, _ = np.histogram(
        np.clip(20 * np.log10(sounding), LEVEL_EDGES_DB[0], LEVEL_EDGES_DB[-1]),
        LEVEL_EDGES_DB,
    )
    return Inspection(
        path=str(data.path),
        dataset=data.manifest["dataset"],
        clips=len(data),
        hours=float(seconds.sum() / 3600),
        skipped=data.manifest["skipped"],
        clips_per_part={part: len(of) for part, of in parts.items()},
        clips_per_class=per_class,
        published=published,
        duration_s={
            "min": float(seconds.min()),
            "median": float(np.median(seconds)),
            "max": float(seconds.max()),
        },
        duration_edges_s=tuple(duration_edges.tolist()),
        duration_clips=tuple(duration_clips.tolist()),
        shortest_s={str(data.id[row]): float(seconds[row]) for row in shortest},
        level_edges_db=LEVEL_EDGES_DB,
        level_clips=tuple(level_clips.tolist()),
        silent=int(np.sum(data.std == 0)),
        near_silent=int(np.sum(sounding < findings.QUIET_STD)),
        offset=int(findings.has_offset(data).sum()),
        clipped=int(findings.is_clipped(data).sum()),
        source_rates=dict(zip(rates.tolist(), rate_clips.tolist(), strict=True)),
        devices={
            split: duplicates.counts(data.device[parts[split]])
            for split in known
            if (data.device[parts[split]] != "").any()
        },
        equal_audio=equal_audio,
        shared_groups={w: d.shared_groups for w, d in divisions.items()},
        findings=_errors_first(
            [
                *findings.about_records(data, findings.spread(rows, SAMPLED)),
                *findings.about_levels(data, rows),
                *findings.about_counts(data, known),
                *_about_labels(data, rows),
                *found,
                *findings.about_equal_audio(equal_audio),
                *findings.about_recording(data),
            ]
        ),
    )


def check_before_training(data: PreparedSet, divisions: Sequence[Division]) -> None:
    """Refuses what makes training meaningless; logs what else is wrong as warnings.

    Args:
      divisions: those of one protocol, so all of the same rows.

    Raises:
      ValueError: on an empty side, clips of a single class, a class to evaluate without
        a clip to train on, levels that audio cannot have, or records that are not what
        the index says.
    """
    first = divisions[0]
    sides = [
        side for side in (first.train, first.validation, first.eval) if side is not None
    ]
    rows = np.concatenate(sides)
    sampled = np.concatenate(
        [findings.spread(side, SAMPLED // len(sides)) for side in sides]
    )
    used = [s for s in data.manifest["splits"] if (data.split == s)[rows].any()]
    found = [
        *findings.about_counts(data, used),
        *findings.about_levels(data, rows),
        *findings.about_records(data, sampled),
        *_about_labels(data, rows),
    ]
    for division in divisions:
        where = f"division {division.number}: " if len(divisions) > 1 else ""
        for about in (findings.about_division, findings.about_copies_across):
            found += _prefixed(where, about(data, division.train, division.eval))
        if division.validation is not None:
            found += _prefixed(
                f"{where}clips for validation: ",
                findings.about_copies_across(data, division.train, division.validation),
            )
    for finding in found:
        if finding.level == "warning":
            logging.getLogger(__name__).warning("%s: %s", data.path, finding.text)
    if errors := [finding.text for finding in found if finding.level == "error"]:
        raise ValueError(
            f"{data.path} cannot be trained on: "
            + "; ".join(errors)
            + f"; see `aemjax inspect {data.path}`"
        )


def _parts(data: PreparedSet, known: list[str]) -> list[str]:
    """Every split, and every fold of it, as `splits.by_split` names them."""
    parts = []
    for split in known:
        folds = np.unique(data.fold[data.split == split]).tolist()
        parts += [split, *(f"{split}:{fold}" for fold in folds if fold > 0)]
    return parts


def _rows_of(data: PreparedSet, part: str) -> np.ndarray:
    split, _, fold = part.partition(":")
    chosen = data.split == split
    return np.flatnonzero(chosen & (data.fold == int(fold)) if fold else chosen)


def _official(data: PreparedSet) -> tuple[dict[str, Division], list[Finding]]:
    """The official divisions by name, none where they are not to be had, and why."""
    if data.manifest["official"] is None and not data.fold.any():
        return {}, []
    try:
        divisions = splits.divide(data, splits.Protocol("official"))
    except ValueError as error:
        return {}, [Finding("warning", f"no official division: {error}")]
    if data.has_folds:
        return {f"fold {d.number} held out": d for d in divisions}, []
    return {" -> ".join(data.manifest["official"]): divisions[0]}, []


def _about_labels(data: PreparedSet, rows: np.ndarray) -> list[Finding]:
    """A single class, and names that are most likely of one class."""
    found = []
    names = [name for name, count in findings.class_counts(data, rows).items() if count]
    if len(names) == 1 and not data.multi_label:
        text = (
            f"all {len(rows)} clips are of one class, {names[0]!r}, expected two or "
            "more: whatever the model, its accuracy is 1; add clips of another class"
        )
        found.append(Finding("error", text))
    alike = collections.defaultdict(list)
    for name in data.label_names:
        alike["".join(name.casefold().split())].append(name)
    if same := [" = ".join(map(repr, own)) for own in alike.values() if len(own) > 1]:
        text = (
            "names of classes differ only in case or spaces: "
            f"{findings.listed(same)}; if they are of one class, write them alike and "
            "prepare the set again"
        )
        found.append(Finding("warning", text))
    return found


def _about_classes(clips_per_class: dict) -> list[Finding]:
    """Classes without clips in a split; which one is trained on is not known."""
    found = []
    for part, clips in clips_per_class.items():
        empty = [name for name, count in clips.items() if not count]
        if empty and len(empty) < len(clips) and ":" not in part:
            text = (
                f"split {part!r} has no clips of {len(empty)} classes: "
                f"{findings.listed(empty)}; they are not learnt from it, nor measured"
            )
            found.append(Finding("warning", text))
    return found


def _prefixed(where: str, found: list[Finding]) -> list[Finding]:
    return [Finding(finding.level, where + finding.text) for finding in found]


def _errors_first(found: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(found, key=lambda finding: finding.level != "error"))
