"""Official dataset folder -> a prepared set of ArrayRecord shards.

Which clips a shard holds, and in which order, is a hash of their ids and the seed, so
shards are balanced, seeded-shuffled, and the same bytes however many workers write them
and however often the work was interrupted. Everything is written to `OUT.incomplete`,
renamed to OUT when whole; a finished shard in it is not written again. A remote folder
cannot be renamed: there the work lies in OUT itself, which is no set before its
manifest is written, last. One process at a time prepares a local OUT.
"""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from aemjax.audio import read
from aemjax.data import catalog, folders, packed, records, runners, shards
from aemjax.data.assemble import assemble
from aemjax.data.clips import Clip, Listing
from aemjax.data.folders import AnyPath

CLIPS_PER_SHARD = 512  # of 10 s: 160 MB


def prepare(
    name: str,
    source: str | Path,
    out: str | Path,
    *,
    workers: int = 1,
    beam_flags: Sequence[str] = (),
    allow_missing: bool = False,
    skip_unreadable: bool = False,
    storage: str = "int16",
    seed: int = 0,
    clips_per_shard: int = CLIPS_PER_SHARD,
) -> dict:
    """Writes a prepared set and returns its manifest.

    Args:
      name: in the catalogue.
      source: folder as the dataset's authors ship it.
      out: folder to make; `OUT.incomplete` holds the work until it is whole.
      workers: processes that read audio.
      beam_flags: if any, an Apache Beam pipeline does the work: "--runner=..." and that
        runner's own. Its workers must see `source` and `out`.
      allow_missing: leave out clips whose file is absent, rather than refuse.
      skip_unreadable: leave out clips whose file, or its name, is bad, rather than
        refuse.
      storage: of the samples, one of `records.STORAGES`.
      seed: of the order of clips on disk.
      clips_per_shard: about how many clips share a file.

    Raises:
      ValueError: on an unknown name, a malformed or incomplete folder, bad audio, or an
        `out` that exists or that another process prepares.
      OSError: if something cannot be written, a remote file cannot be read, or a worker
        was killed.
    Shards that were finished stay in `OUT.incomplete`, and the same command goes on
    from them.
    """
    if workers < 1:
        raise ValueError(f"--workers is {workers}, expected 1 or more")
    dataset = catalog.get(name)
    name = name.rpartition(":")[2].lower()  # of "package.module:BIRDS"
    source, out = folders.as_path(source), folders.as_path(out)
    if not source.exists():
        raise ValueError(f"source {source} does not exist")
    _folder_of_work(out)  # refuses one that is finished before the source is listed
    listing = dataset.read(source)
    _check(listing, source)
    listing, misnamed = _by_name(listing)
    if misnamed and not skip_unreadable:
        raise ValueError(
            f"the names of {len(misnamed)} clips are not UTF-8, the first: "
            f"{misnamed[0].source or misnamed[0].id!r}; rename their files, or leave them "
            "out with --skip-unreadable"
        )
    for role in ("normal_class", "positive_class"):
        named = getattr(dataset, role)
        if named not in (None, *listing.label_names):
            raise ValueError(
                f"{role} of the dataset {name!r} is {named!r}; the classes in {source} "
                f"are {list(listing.label_names)}"
            )
    absent = [clip for clip in listing.clips if clip.source is None]
    if absent and not allow_missing:
        raise ValueError(
            f"{len(absent)} of {len(listing.clips)} clips have no audio file below "
            f"{source}, the first: {[clip.id for clip in absent[:3]]}; fetch them, or "
            "leave them out with --allow-missing"
        )
    plan = {
        "format_version": records.FORMAT_VERSION,
        "dataset": name,
        "sample_rate": read.SAMPLE_RATE,
        "storage": storage,
        "labels": list(listing.label_names),
        "keeps_silence": dataset.keeps_silence,
        "seed": seed,
        "clips_per_shard": clips_per_shard,
        "clips": _digest(listing),
    }
    records.features(listing.label_names, storage)  # refuses an unknown storage
    by_split = _by_shard(listing, plan)
    left_out = [(clip.id, "", "missing") for clip in absent]
    left_out += [
        (
            _printable(c.id),
            _printable(c.source or ""),
            "its name is not UTF-8; rename it",
        )
        for c in misnamed
    ]
    run = (
        functools.partial(runners.run_beam, flags=beam_flags)
        if beam_flags
        else functools.partial(
            runners.run_local, workers=workers, description="prepare"
        )
    )
    with _opened(out, plan) as folder:
        if folder != out or not (out / records.MANIFEST).exists():
            paths = _plan_shards(name, by_split, folder)
            _pack_parquet(listing.clips, folder, run)
            bad = _write_shards(paths, by_split, folder, run, skip=skip_unreadable)
            with shards.writing(folder / records.MANIFEST):
                assemble(folder, plan, dataset, listing, paths, [*left_out, *bad])
            if folder != out:
                os.rename(folder, out)
        return _close(out)


def _check(listing: Listing, source: AnyPath) -> None:
    counts = collections.Counter(clip.id for clip in listing.clips)
    if twice := [clip for clip, count in counts.items() if count > 1]:
        raise ValueError(
            f"{source}: clips listed more than once: {twice[:5]}; list each once, in one "
            "split; in a csv of your own, write several labels in one row, separated by "
            "';'"
        )
    if unlabelled := [clip.id for clip in listing.clips if not clip.labels]:
        raise ValueError(
            f"{source}: {len(unlabelled)} clips have no label, the first: "
            f"{unlabelled[:3]}; give each one or more, or leave them out of the listing"
        )
    if odd := [name for name in listing.label_names if _printable(name) != name]:
        raise ValueError(f"{source}: the class {odd[0]!r} is not UTF-8; rename it")


def _by_name(listing: Listing) -> tuple[Listing, list[Clip]]:
    """The clips whose names can be written down, and those whose names are not UTF-8."""

    def is_text(clip: Clip) -> bool:
        name = clip.id + (clip.source or "")
        return _printable(name) == name

    named = tuple(clip for clip in listing.clips if is_text(clip))
    misnamed = [clip for clip in listing.clips if not is_text(clip)]
    return dataclasses.replace(listing, clips=named), misnamed


def _printable(name: str) -> str:
    """A name with escapes for bytes that are no text."""
    return name.encode(errors="backslashreplace").decode()


def _digest(listing: Listing) -> str:
    digest = hashlib.sha256(repr(listing.label_names).encode())
    for clip in listing.clips:
        digest.update(repr(clip).encode())
    return digest.hexdigest()


def _by_shard(listing: Listing, plan: dict) -> dict[str, list[list[Clip]]]:
    """{split: its shards' clips}: shard hash mod N, in the order of the hash."""

    def rank(clip: Clip) -> int:
        digest = hashlib.blake2b(f"{plan['seed']}:{clip.id}".encode(), digest_size=8)
        return int.from_bytes(digest.digest())

    ranked = collections.defaultdict(list)
    for clip in listing.clips:
        if clip.source is not None:
            ranked[clip.split].append((rank(clip), clip))
    if not ranked:
        raise ValueError("not one of the listed clips has audio; is --source right?")
    result = {}
    for split, pairs in ranked.items():
        count = -(-len(pairs) // plan["clips_per_shard"])
        result[split] = [[] for _ in range(count)]
        for key, clip in sorted(pairs, key=lambda pair: pair[0]):
            result[split][key % count].append(clip)
    return result


def _folder_of_work(out: AnyPath) -> AnyPath:
    """Where an unfinished set lies.

    Raises:
      ValueError: if `out` is there and finished.
    """
    remote, whole = folders.is_remote(out), (out / records.MANIFEST).exists()
    if whole and (out / shards.PLAN).exists():  # killed between the last two steps
        return out
    if whole if remote else out.exists():
        raise ValueError(f"{out} exists; remove it, or choose another --out")
    return out if remote else out.with_name(out.name + ".incomplete")


@contextlib.contextmanager
def _opened(out: AnyPath, plan: dict) -> Iterator[AnyPath]:
    """The folder of work in progress, locked if it is local, even when it is renamed.

    Raises:
      ValueError: if another process holds it, or if it was begun for another plan: hours
        of work may lie there.
    """
    folder = _folder_of_work(out)
    folder.mkdir(parents=True, exist_ok=True)
    begun = folder / shards.PLAN
    with contextlib.ExitStack() as held:
        with shards.writing(begun):
            if not begun.is_file():
                with contextlib.suppress(FileExistsError):
                    folders.write_new_text(begun, json.dumps(plan))
            if not folders.is_remote(folder):
                told = f"another process prepares {out}; wait for it, or stop it"
                held.enter_context(folders.lock_file(begun, told))
        if json.loads(begun.read_text()) != plan:
            raise ValueError(
                f"{folder} was begun with other arguments, or the files in the source "
                "have changed since; remove it to start anew, or choose another --out"
            )
        yield folder


def _plan_shards(
    name: str, by_split: dict[str, list[list[Clip]]], partial: AnyPath
) -> dict[str, list[AnyPath]]:
    """Every split's shards, and beside each what it is to hold."""
    paths = {
        split: [
            partial / records.shard_name(name, split, number, len(parts))
            for number in range(len(parts))
        ]
        for split, parts in by_split.items()
    }
    for split, parts in by_split.items():
        for path, clips in zip(paths[split], parts, strict=True):
            with shards.writing(path):
                shards.write_clips(shards.clips_path(path), clips)
    return paths


def _all(paths: dict[str, list[AnyPath]]) -> list[AnyPath]:
    return [path for split in paths.values() for path in split]


def _pack_parquet(clips: Sequence[Clip], partial: AnyPath, run) -> None:
    """Encodes clips that lie in parquet files, where there are any."""
    by_file = collections.defaultdict(list)
    for clip in clips:
        if clip.source is not None and (row := packed.parse(clip.source)):
            by_file[row[0]].append(clip)
    if not by_file:
        return
    if folders.is_remote(partial) or any("://" in file for file in by_file):
        raise ValueError(
            f"{partial}: parquet files are unpacked before their clips are shuffled, "
            "which needs a file system; mount or copy the remote folder, and name a "
            "local --source and --out"
        )
    (partial / shards.PACKED).mkdir(exist_ok=True)
    tasks = {}
    for file, own in by_file.items():
        path = packed.packed_path(partial / shards.PACKED, file)
        with shards.writing(path):
            shards.write_clips(shards.clips_path(path), own)
        tasks[str(path)] = len(own)
    run(shards.pack_file, tasks)


def _write_shards(
    paths: dict[str, list[AnyPath]],
    by_split: dict[str, list[list[Clip]]],
    folder: AnyPath,
    run,
    *,
    skip: bool,
) -> list[tuple]:
    """Writes those not yet written; returns (id, source, reason) of clips left out.

    Raises:
      ValueError: if there are bad clips and `skip` is not set, or no others.
    """
    sizes = [len(part) for parts in by_split.values() for part in parts]
    run(shards.write_shard, dict(zip(map(str, _all(paths)), sizes, strict=True)))
    bad_of = {path: shards.read_part(path)["bad"] for path in _all(paths)}
    bad = [tuple(row) for rows in bad_of.values() for row in rows]
    if bad and not skip:
        _forget(bad_of, folder)
        some = "\n  ".join(f"{clip}: {reason}" for clip, _, reason in bad[:5])
        raise ValueError(
            f"{len(bad)} clips cannot be used:\n  {some}\nRepair them, or leave them out "
            "with --skip-unreadable, and run the same command again: shards without "
            "them are kept"
        )
    if len(bad) == sum(sizes):
        raise ValueError(
            f"not one of the {len(bad)} clips can be used, the first: {bad[0][2]}"
        )
    return bad


def _forget(bad_of: dict[AnyPath, list], partial: AnyPath) -> None:
    """Has the shards with bad clips written anew the next time: they may be repaired."""
    for path, bad in bad_of.items():
        if bad:
            shards.part_path(path).unlink()
        for _, source, _ in bad:
            if row := packed.parse(source):
                found = packed.packed_path(partial / shards.PACKED, row[0])
                found.unlink(missing_ok=True)


def _close(folder: AnyPath) -> dict:
    """Removes what only an unfinished set needs; returns the manifest."""
    for path in folder.glob(f"*.{records.SUFFIX}-*.json"):
        path.unlink()
    if not folders.is_remote(folder):
        shutil.rmtree(folder / shards.PACKED, ignore_errors=True)
    (folder / shards.PLAN).unlink()  # last: until then it is known as not closed
    return json.loads((folder / records.MANIFEST).read_text())
