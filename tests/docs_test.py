"""The commands that the guides show are ones that exist."""

import re
import shlex

import pytest

from aemjax import cli
from tests.jobs import ROOT

GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands():
    """(guide, words) of every `aemjax` and `python -m` line in a fenced block."""
    for guide in GUIDES:
        for block in re.findall(r"^```\w*\n(.*?)^```", guide.read_text(), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["aemjax"] or words[:2] == ["python", "-m"]:
                    yield pytest.param(words, id=f"{guide.stem}: {' '.join(words[:4])}")


@pytest.mark.parametrize("words", list(commands()))
def test_shown_commands_parse(words):
    if words[0] == "aemjax":
        options, unknown = cli._parser().parse_known_args(words[1:])
        assert not unknown or options.runner  # whose flags they are
        return
    job, options = words[2], dict(_options(words[3:]))
    assert job in ("pretrain", "finetune")
    path, _, variant = options.pop("config").partition(":")
    config = cli._read_config(str(ROOT / path) + (":" + variant if variant else ""))
    options.pop("workdir")
    for key, value in options.items():
        config.lock().update_from_flattened_dict(
            {key.removeprefix("config."): type(_get(config, key))(value)}
        )


def _options(words):
    words = iter(words)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        yield name, value if equals else next(words)


def _get(config, key):
    for part in key.split(".")[1:]:
        config = config[part]
    return config


def test_links_lead_somewhere():
    for guide in GUIDES:
        for link in re.findall(r"\]\(([^)#]+)\)", guide.read_text()):
            assert (guide.parent / link).is_file(), f"{guide}: {link}"
