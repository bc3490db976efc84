# Set-up, the same in every notebook: makes resnet_course importable and changes no installed package.
import subprocess
import sys
from importlib import invalidate_caches, metadata, util
from pathlib import Path
from tempfile import mkdtemp

ADDRESS = "https://github.com/OWNER/NAME"
NEEDED = "0.2.0"  # the version of the course that this notebook was written for


def installed():
    spec = util.find_spec("resnet_course")  # of a mere folder of that name it has no origin
    return bool(spec and spec.origin)


here = Path.cwd()
clones = [str(f) for f in (here, *here.parents) if Path(f, "resnet_course", "__init__.py").is_file()]
sys.path[:0] = clones[:1]
if not installed():
    if "OWNER/NAME" in ADDRESS:
        raise RuntimeError("this notebook has no address yet: open it in the notebooks folder of the course")
    # Every installed package is pinned as it is imported, so that pip can only add packages. What an
    # interrupted pip left, a folder ~umpy, is called numpy too: asked by name it is passed over.
    names = {d.name for d in metadata.distributions() if d.name}
    found = {n: d.version for n in names for d in [*metadata.distributions(name=n)][:1]}
    print("adding the course, which takes up to a minute …")
    pins = Path(mkdtemp(), "installed.txt")
    pins.write_text("".join(f"{name}==={version}\n" for name, version in found.items()))
    course = f"resnet-course @ {ADDRESS}/archive/HEAD.zip"
    install = [sys.executable, "-m", "pip", "install", "--retries=1", "--constraint", pins, course]
    pip = subprocess.run(install, capture_output=True, text=True)
    invalidate_caches()
    if not installed():
        print((pip.stdout + pip.stderr)[-1500:])
        raise RuntimeError(f"pip could not add the course: check the network and restart, or get {ADDRESS}")
import resnet_course

numbers = [[int(n) for n in v.split(".")] for v in (resnet_course.__version__, NEEDED)]
if numbers[0] < numbers[1]:
    raise RuntimeError(
        f"resnet_course {resnet_course.__version__} is too old for this notebook, which needs {NEEDED}: run "
        f"%pip install --upgrade resnet-course@{ADDRESS}/archive/HEAD.zip and restart the kernel"
    )
print(f"resnet_course {resnet_course.__version__} is ready")
