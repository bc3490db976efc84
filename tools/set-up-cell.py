# Set-up, the same in every notebook: makes resnet_course importable and changes no installed package.
import subprocess
import sys
from importlib import invalidate_caches, metadata, util
from pathlib import Path
from tempfile import mkdtemp

ADDRESS = "https://github.com/OWNER/NAME"
here = Path.cwd()
clones = [str(f) for f in (here, *here.parents) if Path(f, "resnet_course", "__init__.py").is_file()]
sys.path[:0] = clones[:1]
if not util.find_spec("resnet_course"):
    if "OWNER/NAME" in ADDRESS:
        raise RuntimeError("this notebook has no address yet: open it in the notebooks folder of the course")
    # Every installed package is pinned as it is, the first of a name, so that pip can only add packages.
    found = {str(d.name).lower().replace("_", "-"): d.version for d in reversed([*metadata.distributions()])}
    pins = Path(mkdtemp(), "installed.txt")
    pins.write_text("".join(f"{name}==={version}\n" for name, version in found.items()))
    course = f"resnet-course @ {ADDRESS}/archive/HEAD.zip"
    install = [sys.executable, "-m", "pip", "install", "--retries=1", "--constraint", pins, course]
    pip = subprocess.run(install, capture_output=True, text=True)
    invalidate_caches()
    if not util.find_spec("resnet_course"):
        print((pip.stdout + pip.stderr)[-1500:])
        raise RuntimeError(f"pip could not add the course: check the network and restart, or get {ADDRESS}")
import resnet_course

print(f"resnet_course {resnet_course.__version__} is ready")
