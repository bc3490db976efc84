"""The glossary is made from the terms, and says truly where each stands first."""

import json
import re
from pathlib import Path

import pytest
from make_glossary import PATH, anchor, glossary

from resnet_course.teaching.terms import TERMS

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb"))


@pytest.fixture(scope="module")
def texts():
    """What the learner sees of each notebook: all cells but the set-up cell."""
    return {
        int(path.name[:2]): "\n".join(
            "".join(cell["source"])
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if cell["id"] != "setup"
        )
        for path in NOTEBOOKS
    }


def test_the_glossary_is_up_to_date():
    assert PATH.read_text(encoding="utf-8") == glossary(), "run: python tools/make_glossary.py"


def test_there_are_enough_terms_and_each_only_once():
    names = [term.name.lower() for term in TERMS]
    assert 40 <= len(names) == len(set(names)) and names == sorted(names)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_definition_is_one_sentence_in_plain_words(term):
    assert term.definition.endswith(".") and term.definition.count(". ") == 0
    assert 20 < len(term.definition) < 220 and "|" not in term.definition
    assert not term.definition.lower().startswith(term.name.lower())


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_term_stands_first_in_the_notebook_that_is_named(term, texts):
    spelled = re.compile(rf"\b{re.escape(term.spelled or term.name)}", re.IGNORECASE)
    found = [number for number, text in texts.items() if spelled.search(text)]
    assert found and found[0] == term.notebook


def test_every_link_to_the_glossary_leads_to_a_term(texts):
    legal = {anchor(term.name) for term in TERMS}
    linked = {
        number: set(re.findall(r"glossary\.md#([^)]+)\)", text)) - legal for number, text in texts.items()
    }
    assert not any(linked.values()), f"no such term: {linked}"
    assert all(f'<a id="{name}"></a>' in glossary() for name in legal)
