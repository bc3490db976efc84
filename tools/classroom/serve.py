"""A classroom without internet: one machine holds the course, the others fetch it from there.

On the teacher's machine, while it is online:   uv run --with pip python tools/classroom/serve.py DIR
On every other one, as the first one prints:    python -c "from urllib.request import urlopen; exec(…)"

DIR then holds the wheels of all packages, the course, and CIFAR-10 and ImageNet's weights if they can be had.
What is there already is not fetched again, so that later it starts without a network too. The wheels are for
machines with the same system and the same Python as the teacher's.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import importlib.util
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

from resnet_course.common.errors import CourseError
from resnet_course.common.files import write_atomically
from resnet_course.data import cifar10
from resnet_course.settings import Settings
from resnet_course.transfer.weights import imagenet_path, load_weights

COURSE = Path(__file__).resolve().parents[2]
JOIN = Path(__file__).with_name("join.py")
PACKAGES = ("jupyterlab",)  # beside what the course itself needs
LEARNERS_NEED = ("resnet_course", "notebooks", "docs", "README.md", "LICENSE", "pyproject.toml")


def gather(folder: Path) -> None:
    """Put into a folder what a classroom needs and it lacks.

    Raises CourseError if the packages cannot be had.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "course.zip", _write_course)
    if not (folder / "wheels").is_dir():
        if not importlib.util.find_spec("pip"):
            raise CourseError(
                "pip is missing here; with uv, write: uv run --with pip python tools/classroom/serve.py"
            )
        print("fetching the wheels of all packages …")
        unfinished = folder / "wheels.unfinished"
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--wheel-dir",
            unfinished,
            COURSE,
            *PACKAGES,
        ]
        if subprocess.run(command).returncode:
            raise CourseError("the packages cannot be fetched; this machine has to be online once")
        unfinished.replace(folder / "wheels")
    _gather_pictures(folder / "cifar-10-python.tar.gz")
    _gather_weights(folder / imagenet_path().name)


def _write_course(file) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in LEARNERS_NEED:
            for path in sorted([COURSE / name, *(COURSE / name).rglob("*")]):
                own = path.relative_to(COURSE)  # JupyterLab's .ipynb_checkpoints hold what the teacher solved
                if path.is_file() and not any(part == "__pycache__" or part[0] == "." for part in own.parts):
                    archive.write(path, own)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as content:
        write_atomically(target, lambda file: shutil.copyfileobj(content, file))


def _gather_pictures(path: Path) -> None:
    settings = Settings.from_env()
    archive = settings.home / "data" / path.name
    if not path.exists():
        try:
            cifar10.load(settings.home, patience=settings.patience)
            if not archive.is_file():  # it came unpacked
                cifar10.fetch_archive(settings.home, patience=settings.patience)
            _copy(archive, path)
        except (CourseError, OSError) as error:
            print(f"without CIFAR-10, so that learners work on drawn shapes or their own pictures: {error}")


def _gather_weights(path: Path) -> None:
    source = Settings.from_env().weights
    if not path.exists():
        try:
            load_weights("imagenet" if source == "auto" else source)
            _copy(Path(source) if Path(source).is_file() else imagenet_path(), path)
        except (CourseError, OSError) as error:
            print(f"without ImageNet's weights, so that learners have the built-in ones: {error}")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Hands out the folder, and the script for the learners with this server's address in it."""

    def do_GET(self) -> None:
        if self.path != "/join.py":
            super().do_GET()
            return
        address = f"http://{self.headers['Host']}"
        script = JOIN.read_text(encoding="utf-8").replace("http://localhost:8000", address).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/x-python; charset=utf-8")
        self.send_header("Content-Length", str(len(script)))
        self.end_headers()
        self.wfile.write(script)

    def log_message(self, *arguments: object) -> None:
        """Say nothing of each file."""


def server(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """A server of the folder, for all machines of the network. port: 0 for any that is free."""
    handler = functools.partial(Handler, directory=str(folder))
    return http.server.ThreadingHTTPServer(("", port), handler)


def own_address() -> str:
    """The number of this machine in its network, where other machines may not know its name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address of nobody, to which nothing is sent
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()


def main(arguments: list[str] | None = None) -> int:
    """Gather, say what the learners type, and serve until Ctrl-C. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args(arguments)
    try:
        gather(options.folder)
    except (CourseError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    with server(options.folder, options.port) as serving:
        address = f"http://{own_address()}:{serving.server_port}"
        print("On every other machine (python is python3 on a Mac, and py on Windows):")
        print(
            f"""python -c "from urllib.request import urlopen; exec(urlopen('{address}/join.py').read())" """
        )
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            print("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
