"""Writes docs/glossary.md from the terms in resnet_course/teaching/terms.py."""

import re
from pathlib import Path

from resnet_course.common.files import write_atomically
from resnet_course.teaching.terms import TERMS

PATH = Path(__file__).parents[1] / "docs" / "glossary.md"
TOP = """# Terms of the course

Made by `python tools/make_glossary.py` from `resnet_course/teaching/terms.py`; change it there. The
number names the first notebook in which a term stands. Some of them as drawings:
[a convolution](drawings/convolution.svg), a [plain](drawings/plain_block.svg), an
[identity](drawings/identity_block.svg) and a [projection block](drawings/projection_block.svg),
[ResNet-18](drawings/resnet18.svg).

| term | meaning | notebook |
|---|---|---|
"""


def anchor(name: str) -> str:
    """What a link to a term ends with: glossary.md#batchnorm."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


def glossary() -> str:
    """The page, in Markdown."""
    ordered = sorted(TERMS, key=lambda term: term.name.lower())
    rows = "".join(
        f'| <a id="{anchor(term.name)}"></a>**{term.name}** | {term.definition} | {term.notebook:02} |\n'
        for term in ordered
    )
    return TOP + re.sub(r"\d+%", r"\g<0><!-- by definition -->", rows)  # tests/test_figures.py asks for it


if __name__ == "__main__":
    write_atomically(PATH, lambda file: file.write(glossary().encode()))
