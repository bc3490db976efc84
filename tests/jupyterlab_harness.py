"""JupyterLab in a real browser: a server and a Chromium of their own, and what a learner does there.

Playwright is imported where it is used: it is no dependency of the course, and most test runs do without.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Collection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 300  # until a start, or a run of all cells, counts as failed: much, for a slow machine

# No question about news, and all cells in the page at once, not only those in view.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}
WIDGET = re.compile(r"^if not settings\.reduced:(?=.*\n    display\()", re.MULTILINE)  # and its comment
PANEL = "window.jupyterapp.shell.currentWidget"
STATUS = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"


def find_chromium() -> str | None:
    """The path of a Chromium or Chrome on this machine; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None) or shutil.which("/usr/bin/chromium")


class Lab:
    """A JupyterLab server on a free port of this machine, with a home of its own, and a browser.

    home: an empty folder. It holds the copies of notebooks, settings, and what the course writes.
    """

    def __init__(self, home: Path) -> None:
        self.files, self.token = home / "files", secrets.token_hex()
        self.files.mkdir()
        self._write_settings(home / "settings")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        self._processes = contextlib.ExitStack()
        environment = os.environ | {
            "HOME": str(home),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "PYTHONPATH": str(ROOT),
            "RESNET_COURSE_MODE": "reduced",
            "RESNET_COURSE_HOME": str(home / "course"),
            "OMP_NUM_THREADS": "1",
        }
        self.log = home / "server.txt"
        self._start_server(environment)
        self._start_browser()

    @staticmethod
    def _write_settings(folder: Path) -> None:
        for name, values in SETTINGS.items():
            path = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))

    def _start_server(self, environment: dict[str, str]) -> None:
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
        options = {
            "ServerApp.port": self.address.rpartition(":")[2],
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.files,
            "IdentityProvider.token": self.token,
            "LabApp.expose_app_in_browser": True,
            "LabApp.news_url": "",
        }
        command += [f"--{name}={value}" for name, value in options.items()]
        log = self._processes.enter_context(self.log.open("wb"))
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self._processes.callback(server.wait, 30)
        self._processes.callback(server.terminate)
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.address}/api?token={self.token}").close()
                return
            except OSError as error:
                if time.monotonic() > deadline or server.poll() is not None:
                    self.close()
                    raise RuntimeError(f"JupyterLab did not start: {self.log.read_text()}") from error
                time.sleep(0.3)

    def _start_browser(self) -> None:
        from playwright.sync_api import sync_playwright

        playwright = self._processes.enter_context(sync_playwright())
        # Root may have no sandbox, a container little shared memory; and it is to ask no server.
        switches = ("no-sandbox", "disable-dev-shm-usage", "disable-background-networking")
        switches += ("disable-component-update", "disable-sync")
        arguments = [f"--{switch}" for switch in switches]
        self.browser = playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        self._processes.callback(self.browser.close)

    def close(self) -> None:
        """End the browser, then the server with its kernels."""
        self._processes.close()

    @contextlib.contextmanager
    def opened(self, name: str, only: Collection[str] = (), change: Callable[[str], str] = str):
        """A page with a copy of a notebook of the course, whose kernel is ended with it.

        name: how the notebook's name begins. only: ids of the cells that the copy has; (): all of them.
        change: makes the copy's source of each cell.
        Yields a Notebook.
        """
        (path,) = (ROOT / "notebooks").glob(f"{name}*.ipynb")
        content = json.loads(path.read_text(encoding="utf-8"))
        if only:
            content["cells"] = [cell for cell in content["cells"] if cell["id"] in only]
        for cell in content["cells"]:
            cell["source"] = change("".join(cell["source"]))
        (self.files / path.name).write_text(json.dumps(content), encoding="utf-8")
        page = self.browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(1_000 * SECONDS)
        try:
            page.goto(f"{self.address}/lab/tree/{path.name}?token={self.token}&reset")
            page.wait_for_selector(".jp-Notebook .jp-CodeCell")
            notebook = Notebook(page, path.stem)
            notebook.wait_for_kernel()
            yield notebook
            page.evaluate(f"() => {PANEL}.sessionContext.shutdown()")
        finally:
            page.close()


class Notebook:
    """A notebook in a page of JupyterLab.

    page: Playwright's. name: of the file, without its ending.
    """

    def __init__(self, page, name: str) -> None:
        self.page, self.name = page, name

    def wait_for_kernel(self) -> None:
        """Wait until the kernel is there and has nothing to do."""
        self.page.wait_for_function(f"() => {STATUS} === 'idle'")

    def start(self, command: str) -> None:
        """Begin one of JupyterLab's commands, such as notebook:run-all-cells; `wait` until it is done."""
        self.page.evaluate(
            """command => { window.done = false;
            window.jupyterapp.commands.execute(command).finally(() => { window.done = true }) }""",
            command,
        )

    def wait(self) -> None:
        """Wait until the command that was begun is done, and the kernel idle."""
        self.page.wait_for_function(f"() => window.done && {STATUS} === 'idle'")

    def do(self, command: str) -> None:
        """One of JupyterLab's commands, from its begin to its end."""
        self.start(command)
        self.wait()

    def select(self, cell: str) -> None:
        """Make a cell the one that commands act on, in the middle of the window."""
        self.page.evaluate(
            f"""cell => {{ const notebook = {PANEL}.content;
            notebook.activeCellIndex = notebook.widgets.findIndex(each => each.model.id === cell);
            notebook.deselectAll(); notebook.activeCell.node.scrollIntoView({{block: 'center'}}) }}""",
            cell,
        )

    def run(self, cell: str) -> list[dict]:
        """Run one cell. Returns its outputs."""
        self.select(cell)
        self.do("notebook:run-cell")
        return self.cells()[cell]["outputs"]

    def write(self, cell: str, source: str) -> None:
        """Type a source into a cell, in place of what stands there."""
        self.select(cell)
        editor = self.page.locator(".jp-Notebook .jp-Cell.jp-mod-active .cm-content")
        editor.click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(source)

    def wait_for_text(self, cell: str, text: str) -> None:
        """Wait until the kernel is busy and an output of the cell holds the text."""
        self.page.wait_for_function(
            f"""([cell, text]) => {{
            const found = {PANEL}.content.widgets.find(each => each.model.id === cell);
            const outputs = JSON.stringify(found.model.toJSON().outputs);
            return {STATUS} === 'busy' && outputs.includes(text) }}""",
            arg=[cell, text],
            polling=20,
        )

    def press_stop(self) -> None:
        """Click the stop button of the toolbar."""
        self.page.locator(".jp-NotebookPanel-toolbar [data-command='notebook:interrupt-kernel']").click()

    def restart(self) -> None:
        """Restart the kernel as the button of the toolbar does, and say yes to the question."""
        self.start("notebook:restart-kernel")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.wait()

    def cells(self) -> dict[str, dict]:
        """The cells with code by their ids, as in a file: execution_count, outputs, source."""
        content = self.page.evaluate(f"() => {PANEL}.content.model.toJSON()")
        cells = (cell for cell in content["cells"] if cell["cell_type"] == "code")
        return {cell["id"]: cell for cell in cells}

    def output_of(self, cell: str):
        """The place in the page where the outputs of a cell are: a Playwright locator."""
        index = self.page.evaluate(
            f"cell => {PANEL}.content.widgets.findIndex(each => each.model.id === cell)", cell
        )
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index).locator(".jp-Cell-outputWrapper")

    def unnamed_controls(self) -> list[str]:
        """How the source begins of each control of a widget whose name a screen reader could not tell."""
        controls = (
            ".jp-OutputArea-output .jupyter-widgets :is(input, select, [role=slider], [contenteditable])"
        )
        return self.page.locator(controls).evaluate_all(
            """all => all.filter(one => !one.ariaLabel && !one.title && !one.labels?.[0]?.textContent.trim())
            .map(one => one.outerHTML.slice(0, 200))"""
        )

    def take_screenshots(self, folder: Path, count: int = 5) -> None:
        """Write PNG files of `count` places, in two widths and two themes."""
        folder.mkdir(parents=True, exist_ok=True)
        self.page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
        cells = [cell for cell, content in self.cells().items() if content["outputs"]]
        for theme in ("Light", "Dark"):
            self.page.evaluate(
                "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
                f"JupyterLab {theme}",
            )
            for width in (1400, 700):
                self.page.set_viewport_size({"width": width, "height": 1400})
                self.page.wait_for_timeout(1_000)  # for the theme's styles and the new widths
                for place in range(count):
                    self.select(cells[place * (len(cells) - 1) // (count - 1)])
                    self.page.wait_for_timeout(200)
                    self.page.screenshot(path=folder / f"{self.name}_{theme.lower()}_{width}_{place}.png")


def text_of(outputs: list[dict]) -> str:
    """What outputs say, as plain text; of an error its last line."""
    said = []
    for output in outputs:
        text = output.get("text") or output.get("data", {}).get("text/plain", "")
        text = f"{output['ename']}: {output['evalue']}" if output["output_type"] == "error" else text
        said.append(text if isinstance(text, str) else "".join(text))
    return "\n".join(said)


def with_widgets(source):
    """The source of a cell, which now shows its widget in reduced mode too."""
    return WIDGET.sub("if True:", source)


def problems(notebook):
    """What a run of all cells left that it should not: by the cell, an error, a warning, or no run at all."""
    found = {}
    for name, cell in notebook.cells().items():
        kinds = {output.get("name", output["output_type"]) for output in cell["outputs"]}
        if kinds & {"error", "stderr"}:
            found[name] = text_of(cell["outputs"])
        elif cell["execution_count"] is None and cell["source"]:
            found[name] = "it did not run"
    return found
