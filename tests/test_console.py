"""Notices go where a learner sees them and scripts do not trip over them."""

import pytest

from resnet_course.common import console


def test_notices_go_to_stderr_and_are_silent_within_quiet(capsys):
    console.say("before")
    with console.quiet():
        console.say("within")
        with console.quiet():
            pass
        console.say("still within")
        assert console.progress(range(3)).disable
    console.say("after")
    assert capsys.readouterr() == ("", "before\nafter\n")


def test_an_error_ends_the_quiet_too(capsys):
    with pytest.raises(ValueError, match="stop"), console.quiet():
        raise ValueError("stop")
    console.say("heard")
    assert capsys.readouterr().err == "heard\n"


def test_without_stderr_work_goes_on(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    console.say("nobody reads this")
    with console.progress(range(3), description="steps") as bar:
        assert list(bar) == [0, 1, 2]
