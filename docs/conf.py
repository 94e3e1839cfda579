"""The site that `make docs` builds: guides, results, and what docstrings and parser say."""

import os
import re
import sys
import types
import typing
from pathlib import Path

import jax.typing
import numpy.typing

ROOT = Path(__file__).parents[1]

# Annotations are shown by short names: jaxtyping's without their module, as
# Float32[ndarray, 'n d'], and these in place of the unions that they stand for.
typing.GENERATING_DOCUMENTATION = "aemjax"
numpy.typing.ArrayLike = type("ArrayLike", (), {"__module__": "builtins"})
jax.typing.DTypeLike = type("DTypeLike", (), {"__module__": "builtins"})
# Of aemjax.serve.hear, which is documented where PyTorch is not installed, too.
sys.modules["torch"] = types.SimpleNamespace(
    Tensor=type("Tensor", (), {}),
    nn=types.SimpleNamespace(Module=type("Module", (), {})),
)

from aemjax import __version__, cli  # noqa: E402

project = "aemjax"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"aemjax {version}"
html_copy_source = False
html_show_copyright = False
highlight_language = "none"  # of blocks that name no language: most are a shell's
myst_heading_anchors = 3  # links such as recipes.md#measured, as the forge makes them

autoclass_content = "both"
autodoc_default_options = {"exclude-members": "dtype"}  # a field, not an attribute
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
default_role = "code"  # docstrings have `names` in single backticks
maximum_signature_line_length = 80
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_numpy_docstring = False
napoleon_use_param = False
smartquotes = False  # would make a dash of --option
toc_object_entries_show_parents = "hide"

# The tutorial runs in a folder of its own, on the CPU; it imports the jobs.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 300  # seconds, of a cell
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars
os.environ["PYTHONPATH"] = str(ROOT)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["COLUMNS"] = "88"  # of help texts


def add_commands(app, page: str, source: list[str]) -> None:
    """Appends what `aemjax VERB --help` prints."""
    if page == "reference/commands":
        for name, parser in cli.parsers().items():
            source[0] += f"\n## {name}\n\n```text\n{parser.format_help()}```\n"


def shorten(app, what, name, documented, options, signature, returns):
    """Leaves out the arguments that Flax gives to every module; defaults are Python."""
    if signature:
        signature = re.sub(r", parent: .*\)$", ")", signature)
        signature = signature.replace("<class 'jax.numpy.float32'>", "jnp.float32")
        signature = re.sub("<factory>|<function <lambda>>", "...", signature)
    return signature, returns


def setup(app) -> None:
    app.connect("source-read", add_commands)
    app.connect("autodoc-process-signature", shorten)
