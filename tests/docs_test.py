"""The commands that the guides show are ones that exist."""

import functools
import itertools
import re
import shlex
import subprocess
import sys

import pytest

from aemjax import cli
from aemjax.cli import networks
from benchmarks.__main__ import parser as benchmarks_parser
from tests.jobs import ROOT

GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def split(text):
    """Words of a shell line, its operators among them; ValueError on an open quote."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def lines(text):
    """The words of each line; one that leaves a quote open goes on in the next."""
    open_text = ""
    for line in text.replace("\\\n", " ").splitlines():
        open_text += line + "\n"
        try:
            words = split(open_text)
        except ValueError:
            continue
        yield words
        open_text = ""
    assert not open_text, f"a quote is left open: {open_text}"


def commands_in(text):
    """Our commands in a script, those that it hands to another shell too."""
    for words in lines(text):
        for i, word in enumerate(words):
            if "\n" in word:
                yield from commands_in(word.partition("=")[2])
            first = i == 0 or words[i - 1] in ("srun", "nohup", "until", "&&", ";")
            if first and (word == "aemjax" or words[i : i + 2] == ["python", "-m"]):
                own = itertools.takewhile(
                    lambda word: not set(word) <= set(";&|<>()"), words[i:]
                )
                yield list(own)


def commands():
    """(guide, words) of every `aemjax` and `python -m` line in a fenced block."""
    for guide in GUIDES:
        for kind, block in blocks(guide.read_text()):
            if kind.startswith("{"):  # a directive of the site's
                continue
            for words in commands_in(block):
                yield pytest.param(words, id=f"{guide.stem}: {' '.join(words[:4])}")


def blocks(text):
    """(what stands behind the opening fence, text) of each fenced block."""
    return re.findall(r"^```(.*)\n((?:.*\n)*?)^```$", text, re.M)


@pytest.mark.parametrize("words", list(commands()))
def test_shown_commands_parse(words):
    if words[0] == "aemjax":
        options, unknown = cli._parser().parse_known_args(words[1:])
        assert not unknown or options.runner  # whose flags they are
        return
    job = words[2]
    if job == "benchmarks":
        benchmarks_parser().parse_args(words[3:])
        return
    assert job in ("pretrain", "finetune", "finetune.sweep", "finetune.compress")
    flags = job_flags(job)
    options = dict(_options(words[3:], flags))
    path, _, variant = options.pop("config").partition(":")
    config = networks.read_config(str(ROOT / path) + (":" + variant if variant else ""))
    assert "workdir" in options or "compile_only" in options
    for key, value in options.items():
        if key.startswith("config."):
            config.lock().update_from_flattened_dict(
                {key.removeprefix("config."): type(_get(config, key))(value)}
            )
        else:
            assert key in flags, f"{job} has no --{key}; it has {sorted(flags)}"


@functools.cache
def job_flags(job):
    """{flag: whether it takes a value} of a job, as its own help lists them."""
    done = subprocess.run(
        [sys.executable, "-m", job, "--helpfull"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    found = re.findall(r"^ +(?:-\w,)?--(\[no\])?(\w+):", done.stdout, re.M)
    return {name: not switch for switch, name in found}


def _options(words, flags):
    words = iter(words)
    for word in words:
        assert word.startswith("--"), f"{word} is no option"
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals:
            value = next(words) if flags.get(name, True) else "true"
        yield name, value


def _get(config, key):
    for part in key.split(".")[1:]:
        config = config[part]
    return config


def test_what_guides_show_is_found_where_scripts_hide_it():
    script = """
srun python -m pretrain --a b \\
    --c d && ls
until aemjax report x; do
gcloud ssh --command='
    cd aemjax && python -m finetune --e=f > log 2>&1 &'
#SBATCH python -m pretrain
echo aemjax
"""
    assert list(commands_in(script)) == [
        ["python", "-m", "pretrain", "--a", "b", "--c", "d"],
        ["aemjax", "report", "x"],
        ["python", "-m", "finetune", "--e=f"],
    ]


def test_a_job_lists_its_flags():
    flags = job_flags("pretrain")
    assert flags["compile_only"] and flags["workdir"] and not flags["dry_run"]
    assert "compile_only" not in job_flags("finetune")


def test_links_lead_somewhere():
    for guide in GUIDES:
        for link in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", guide.read_text()):
            assert (guide.parent / link).is_file(), f"{guide}: {link}"


@pytest.mark.parametrize(
    "section",
    [
        "data",
        "augment",
        "optimizer",
        "schedule",
        "loss",
        "train",
        "checkpoint",
        "distill",
    ],
)
def test_every_option_is_in_the_guide(section):
    guide = (ROOT / "docs" / "recipes.md").read_text()
    config = networks.read_config(str(ROOT / "configs/pretrain/aemresnet_audioset.py"))
    for name in config[section]:
        assert re.search(rf"\b{name}\b", guide), name


@pytest.mark.parametrize("section", ["prune", "compress"])
def test_every_option_of_compression_is_in_its_guide(section):
    guide = (ROOT / "docs" / "compression.md").read_text()
    config = networks.read_config(str(ROOT / "configs/finetune/dcase2021_1a.py"))
    for name in config[section]:
        assert f"`{section}.{name}`" in guide, name
