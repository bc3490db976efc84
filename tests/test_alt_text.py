"""The description of a figure arrives where people who do not see it read it."""

import base64
import io

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image

CODE = """
import matplotlib.pyplot as plt
from resnet_course import plots

plots.bars({"x": {"a": 1.0, "<b>": 2.5}}, 'bars & "more"', "metres")
plots.lines({"one": {1: 2.0, 2: 3.0}}, "lines", "x", "y")
plt.show()
"""
ALTS = [
    'bars & "more". Bars of metres. x: a 1 and <b> 2.5.',
    "lines. Lines of y against x: one from 2 at 1 to 3 at 2.",
]


@pytest.fixture(scope="module")
def notebook():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    NotebookClient(notebook, startup_timeout=300, kernel_name="python3").execute()
    return notebook


@pytest.mark.slow
def test_a_notebook_exported_to_html_has_the_descriptions(notebook):
    page = BeautifulSoup(HTMLExporter().from_notebook_node(notebook)[0], "html.parser")
    images = page.select(".jp-OutputArea-output img")
    assert [image["alt"] for image in images] == ALTS
    for image in images:
        kind, data = image["src"].split(",")
        assert kind == "data:image/png;base64"
        assert Image.open(io.BytesIO(base64.b64decode(data))).size[0] > 300


@pytest.mark.slow
def test_what_jupyterlab_prefers_has_them_too(notebook):
    """Seen in JupyterLab 4: it takes text/html before image/png, and shows png without any alt text."""
    for output, alt in zip(notebook.cells[0].outputs, ALTS, strict=True):
        assert output.output_type == "display_data"
        assert BeautifulSoup(output.data["text/html"], "html.parser").img["alt"] == alt
        assert output.data["text/plain"] == alt
        assert output.data["image/png"] in output.data["text/html"], "one rendering for both"
