"""How Sphinx builds the reading edition; `build.py` beside it calls it."""

import sys
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

import resnet_course

sys.path.insert(0, str(Path(__file__).parent))
from docstrings import to_rst

project = "ResNet-18 transfer learning on a CPU"
author = "The authors of resnet_course"
release = version = resnet_course.__version__
html_title = project
extensions = ["myst_nb", "sphinx.ext.autodoc"]
html_theme = "furo"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
language = "en"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

nb_execution_mode = "off"  # build.py has run them
nb_merge_streams = True
nb_mime_priority_overrides = [("html", "text/html", 0)]  # a figure with its description; no widgets
nb_ipywidgets_js = {}
myst_enable_extensions = ["dollarmath", "attrs_inline"]
myst_heading_anchors = 4
suppress_warnings = ["ref.python"]  # two modules have a Plan of their own
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
html_math_renderer = "mathml"  # which browsers show without a script and without a server


def setup(app: Sphinx) -> None:
    """Formulas as MathML, and docstrings as the course writes them."""

    def inline(translator, node: nodes.Element) -> None:
        translator.body.append(convert(node.astext()))
        raise nodes.SkipNode

    def block(translator, node: nodes.Element) -> None:
        translator.body.append(convert(node.astext(), display="block"))
        raise nodes.SkipNode

    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("autodoc-process-docstring", lambda app, what, name, thing, options, lines: to_rst(lines))
