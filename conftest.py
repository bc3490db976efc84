"""For every test run: nothing of the user's is touched, and a notebook that goes wrong fails at once."""

import os
import sys
import tempfile
import time
from importlib.util import cache_from_source
from pathlib import Path
from queue import Empty

# jsonschema, which nbval imports, would build a grammar of Internet addresses, 2 seconds in each process,
# that no notebook needs. So nbval is not loaded by itself, before this file (see pyproject.toml), but here.
sys.modules.setdefault("rfc3987_syntax", None)

import nbval.kernel  # noqa: E402
import nbval.plugin  # noqa: E402
import pytest  # noqa: E402

pytest_plugins = ["nbval.plugin"]
HOMES = (
    "RESNET_COURSE_HOME",
    "TORCH_HOME",
    "MPLCONFIGDIR",
    "IPYTHONDIR",
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
)
if "PYTEST_XDIST_WORKER" in os.environ:  # several work side by side, and share the cores
    # Not in `pytest_configure`: tests/conftest.py comes before that, and imports torch. With two threads
    # in each of two processes a test of 3 seconds took 140.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
temporary = tempfile.TemporaryDirectory(prefix="resnet_course_tests_", ignore_cleanup_errors=True)


def pytest_configure() -> None:
    """Give the tests, and the kernels that inherit the environment, reduced mode and a home of their own."""
    for name in list(os.environ):
        if name.startswith("RESNET_COURSE_") and not name.startswith("RESNET_COURSE_TEST_"):
            del os.environ[name]
    os.environ["RESNET_COURSE_MODE"] = "reduced"
    for name in ("DATA", "WEIGHTS", "GROUP"):  # for notebooks on other images and weights
        if chosen := os.environ.get(f"RESNET_COURSE_TEST_{name}"):
            os.environ[f"RESNET_COURSE_{name}"] = chosen
    os.environ.update({name: str(Path(temporary.name, name.lower())) for name in HOMES})
    if "PYTHONDONTWRITEBYTECODE" in os.environ and not Path(cache_from_source(pytest.__file__)).exists():
        # Else every Python that is started compiles PyTorch again, which takes 5 of its 11 seconds.
        del os.environ["PYTHONDONTWRITEBYTECODE"]
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(temporary.name, "bytecode"))

    import matplotlib  # only now, because it looks for its folder when it is imported

    matplotlib.use("Agg")  # not by MPLBACKEND: kernels would inherit it and show no figure


def pytest_unconfigure() -> None:
    """Remove that home."""
    temporary.cleanup()


class WatchedKernel(nbval.kernel.RunningKernel):
    """A kernel whose death is noticed within a second, and that keeps its reply to the last cell."""

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        """Wait until the kernel has done what `msg_id` asked for.

        timeout: seconds; None waits for ever.
        Raises queue.Empty when the time is over, RuntimeError when the kernel died.
        """
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while True:
            try:
                message = self.get_message(stream="shell", timeout=1)
            except Empty:
                if not self.is_alive():
                    raise RuntimeError("the kernel died in this cell") from None
                if time.monotonic() > deadline:
                    raise
            else:
                if message["parent_header"].get("msg_id") == msg_id:
                    self.reply = message["content"]
                    return


nbval.plugin.RunningKernel = WatchedKernel


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip the cells after one that failed: they would add only noise."""
    if failed := getattr(item.parent, "failed_cell", None):
        pytest.skip(f"{failed} of this notebook failed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """Fail two kinds of cells that nbval lets pass: one that catches its time-out, and an unknown magic."""
    if not isinstance(item, nbval.plugin.IPyNbCell):
        return (yield)
    try:
        result = yield
        if item.parent.timed_out:
            item.raise_cell_error(f"Timeout of {item.config.option.nbval_cell_timeout:g} seconds exceeded")
        reply = item.parent.kernel.reply
        if reply["status"] != "ok" and not item.options["check_exception"]:
            item.raise_cell_error(f"{reply.get('ename')}: {reply.get('evalue')}")
        return result
    except Exception:
        item.parent.failed_cell = item.name
        raise
