# Set-up, the same in every notebook: makes resnet_course importable and changes no installed package.
import importlib.util
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ADDRESS = "https://github.com/OWNER/NAME"
here = Path.cwd()
clones = [str(f) for f in (here, *here.parents) if Path(f, "resnet_course", "__init__.py").is_file()]
sys.path[:0] = clones[:1]
if not importlib.util.find_spec("resnet_course"):
    if "OWNER/NAME" in ADDRESS:
        raise RuntimeError("this notebook has no address yet: open it in the notebooks folder of the course")
    with TemporaryDirectory() as folder:
        # What is installed is pinned to its version, so that pip can only add what is missing.
        pip, pins = [sys.executable, "-m", "pip"], Path(folder, "installed.txt")
        pins.write_bytes(subprocess.run([*pip, "list", "--format=freeze"], capture_output=True).stdout)
        install = [*pip, "install", "--constraint", pins, f"resnet-course @ {ADDRESS}/archive/HEAD.zip"]
        result = subprocess.run(install, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    importlib.invalidate_caches()
    if not importlib.util.find_spec("resnet_course"):
        print(result.stdout.decode(errors="replace")[-800:])
        raise RuntimeError(f"pip could not add the course: check the network and restart, or get {ADDRESS}")
import resnet_course

print(f"resnet_course {resnet_course.__version__} is ready")
