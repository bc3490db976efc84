# What a learner's machine runs, fetched from the teacher's: it needs Python alone, no internet. It makes the
# folder resnet_course_class with the course, an environment of its own, pictures and weights. Run again, it
# goes on.
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

ADDRESS = "http://localhost:8000"
FOLDER = Path("resnet_course_class").resolve()
START = """
import os, subprocess, sys
from pathlib import Path

here = Path(__file__).resolve().parent
os.environ["RESNET_COURSE_HOME"] = str(here / "home")
weights = here / "resnet18-f37072fd.pth"
if weights.exists():
    os.environ["RESNET_COURSE_WEIGHTS"] = str(weights)
notebook = here / "notebooks" / "00_start_here.ipynb"
sys.exit(subprocess.call([PYTHON, "-m", *(sys.argv[1:] or ["jupyter", "lab", str(notebook)])]))
"""


def fetch(name, path):
    """Get a file, whole or not at all. Returns whether the teacher's machine has it."""
    if path.exists():
        return True
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        with urlopen(f"{ADDRESS}/{name}", timeout=60) as answer, unfinished.open("wb") as file:
            shutil.copyfileobj(answer, file)
            if file.tell() != int(answer.headers["Content-Length"]):
                raise SystemExit(f"{name} broke off; run the same command again")
    except HTTPError:
        return False
    except URLError as error:
        raise SystemExit(f"{ADDRESS} does not answer ({error.reason}); run the same command again") from None
    unfinished.replace(path)
    return True


def notebooks_in(path):
    """What each notebook of an archive holds, by its name; nothing where there is no archive."""
    if not path.exists():
        return {}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name.endswith(".ipynb")}


(FOLDER / "home" / "data").mkdir(parents=True, exist_ok=True)
print("fetching the course …")
course, new_course = FOLDER / "course.zip", FOLDER / "course.new.zip"
new_course.unlink(missing_ok=True)
fetch("course.zip", new_course)
before = notebooks_in(course)  # as they were handed out the last time
with zipfile.ZipFile(new_course) as archive:
    new = [
        name
        for name in archive.namelist()
        if not name.endswith(".ipynb")
        or not (FOLDER / name).exists()
        or (FOLDER / name).read_bytes() == before.get(name)  # a notebook that the learner has changed stays
    ]
    archive.extractall(FOLDER, new)
new_course.replace(course)  # last: after a break the notebooks are compared with the old one again
print("installing the packages …")
environment = FOLDER / ".venv"
python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
if not [*environment.glob("**/pip/__main__.py")]:  # else it was made whole before
    venv.create(environment, with_pip=True, symlinks=sys.platform != "win32")
host = urlsplit(ADDRESS).hostname
pip = [python, "-m", "pip", "install", "--quiet", "--no-index", "--trusted-host", host]
if subprocess.run([*pip, "--find-links", f"{ADDRESS}/wheels/", "resnet-course", "jupyterlab"]).returncode:
    raise SystemExit("the packages could not be installed: has this machine the teacher's system and Python?")
for name, place in (
    ("cifar-10-python.tar.gz", FOLDER / "home" / "data" / "cifar-10-python.tar.gz"),
    ("resnet18-f37072fd.pth", FOLDER / "resnet18-f37072fd.pth"),
):
    print(f"{name}: {'here' if fetch(name, place) else 'not on the teacher machine'}")
(FOLDER / "start.py").write_text(START.replace("PYTHON", repr(str(python))), encoding="utf-8")
print(f"Start the course with: {sys.executable} {FOLDER.name}/start.py")
